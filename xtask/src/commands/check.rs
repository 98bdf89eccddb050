//! `check`: what can be said about the code without running it.

use super::{cargo, code, status};
use anyhow::Result;
use std::process::ExitCode;

pub(super) fn run() -> Result<ExitCode> {
    let checks: [&[&str]; 3] = [
        &["fmt", "--all", "--check"],
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        &["doc", "--workspace", "--no-deps"],
    ];
    for check in checks {
        let mut command = cargo(check);
        if check[0] == "doc" {
            // Set for doc alone: other commands would rebuild everything with it.
            command.env("RUSTDOCFLAGS", "-D warnings");
        }
        let status = status(&mut command)?;
        if !status.success() {
            return Ok(code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}
