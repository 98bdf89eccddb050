//! One file for each command that is more than a line.

mod chaos;
mod check;
mod deps;
mod fuzz;
mod links;
mod nodes;
mod openapi;
mod servers;
mod test;
mod up;

use crate::arguments::{Command, HELP};
use anyhow::{Context, Result};
use std::{
    path::PathBuf,
    process::{Command as Process, ExitCode, ExitStatus},
};
use xtask::services::{install, workspace_root};

/// Does what the command line asks. The code is that of cargo, where cargo ran.
pub(crate) fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Test { version, arguments } => test::test(version, &arguments),
        Command::Bench(name) => test::bench(&name),
        Command::Chaos(chaos) => chaos::run(&chaos),
        Command::Up(version) => up::run(version),
        Command::Check => check::run(),
        Command::Deps => deps::run(),
        Command::Links => links::run(),
        Command::Fuzz(length) => fuzz::run(length),
        Command::OpenApi => openapi::run(),
        Command::Install(version) => install(version).map(|()| ExitCode::SUCCESS),
        Command::Help => {
            print!("{HELP}");
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// The cargo that runs us, in the root of the workspace.
fn cargo(arguments: &[&str]) -> Process {
    let program = std::env::var_os("CARGO").map_or_else(|| PathBuf::from("cargo"), PathBuf::from);
    let mut command = Process::new(program);
    command.args(arguments).current_dir(workspace_root());
    command
}

/// Runs a command to its end, its output being ours.
fn status(command: &mut Process) -> Result<ExitStatus> {
    command.status().with_context(|| format!("cannot run {command:?}"))
}

/// The exit code of what we ran, as our own.
fn code(status: ExitStatus) -> ExitCode {
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    code.map_or(ExitCode::FAILURE, ExitCode::from)
}
