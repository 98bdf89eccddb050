//! The built program, run as a person or a script would, against a server that plays a node.
//!
//! The server answers from a script, so that answers can be tried that a healthy node never gives.

mod buses;
mod changing;
mod cluster;
mod dead_letters;
mod doctor;
mod fake;
mod help;
mod listeners;
mod operations;
mod tail;
mod topology;
mod trouble;

use fake::Fake;
use std::{
    path::Path,
    process::{Command, Stdio},
};

/// Exit code and output of a command.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The program with an empty environment.
pub(crate) fn hearken(directory: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearken"));
    command.env_clear().current_dir(directory).args(arguments).stdin(Stdio::null());
    command
}

/// Runs the program against a server and waits for its end.
pub(crate) fn run(server: &Fake, arguments: &[&str]) -> Ended {
    let directory = tempfile::tempdir().expect("a directory");
    let mut command = hearken(directory.path(), arguments);
    end(command.env("HEARKEN_URL", &server.url).env("HEARKEN_TOKEN", "secret-token"))
}

/// Runs a command and waits for its end.
pub(crate) fn end(command: &mut Command) -> Ended {
    let output = command.output().expect("the program starts");
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).expect("the output is UTF-8"),
        err: String::from_utf8(output.stderr).expect("the errors are UTF-8"),
    }
}

/// The words of each line, without the spacing of the table.
pub(crate) fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines().map(|line| line.split_whitespace().collect()).collect()
}
