//! `cargo xtask`: hearken's chores.

mod arguments;
mod commands;

use arguments::{Command, HELP};
use std::process::ExitCode;

fn main() -> ExitCode {
    let done = match arguments::parse(std::env::args().skip(1)) {
        Ok(Command::Help) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Ok(command) => commands::run(command),
        Err(refusal) => {
            eprintln!("error: {refusal}\n\n{HELP}");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
