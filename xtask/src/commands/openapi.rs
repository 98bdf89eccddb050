//! `openapi`: the contract, written from the code.

use super::{cargo, code};
use anyhow::{Context, Result};
use std::{
    fs,
    process::{ExitCode, Stdio},
};
use xtask::services::workspace_root;

pub(super) fn run() -> Result<ExitCode> {
    let output = cargo(&["run", "--quiet", "--package", "hearken", "--", "openapi"])
        .stderr(Stdio::inherit())
        .output()
        .context("cannot run cargo")?;
    // A program that fails half way must not leave half a contract.
    if output.status.success() {
        let file = workspace_root().join("openapi.yaml");
        fs::write(&file, &output.stdout)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(code(output.status))
}
