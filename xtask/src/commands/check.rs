//! `check`: what can be said about the code without running it.

use std::process::ExitCode;

use anyhow::Result;

use super::{cargo, code, status};

pub(super) fn run() -> Result<ExitCode> {
    let checks: [&[&str]; 3] = [
        &["fmt", "--all", "--check"],
        &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"],
        &["doc", "--workspace", "--no-deps"],
    ];
    for check in checks {
        let mut command = cargo(check);
        if check[0] == "doc" {
            // Only for this one: it would make the others build everything anew.
            command.env("RUSTDOCFLAGS", "-D warnings");
        }
        let status = status(&mut command)?;
        if !status.success() {
            return Ok(code(status));
        }
    }
    Ok(ExitCode::SUCCESS)
}
