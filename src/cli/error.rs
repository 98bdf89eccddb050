//! How a command ends: its exit code, and what it says on standard error.

use super::problem::Problem;
use crate::error_chain::error_chain;
use crate::{config::ConfigError, telemetry::TelemetryError};
use std::process::ExitCode;

/// The command did what was asked.
pub(super) const DONE: u8 = 0;
/// It did not.
pub(super) const FAILED: u8 = 1;
/// It was asked in a way that makes no sense.
pub(super) const USAGE: u8 = 2;
/// The server refused it.
pub(super) const REFUSED: u8 = 3;
/// The server cannot be reached.
pub(super) const UNREACHABLE: u8 = 4;

/// How a command ends when nothing is in its way: [`DONE`], or [`FAILED`] when what it found is
/// bad and has been printed.
pub(super) type Outcome = Result<u8, CliError>;

/// What was in a command's way.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The arguments or settings make no sense.
    #[error("{0}")]
    Usage(String),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The log's filter is wrong.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The server answered no.
    #[error("{0}")]
    Answered(Problem),
    /// No whole answer came.
    #[error("{what}: {why}")]
    Unreachable {
        /// What was tried, and what to do.
        what: String,
        /// The cause behind all causes, such as `Connection refused`.
        why: String,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(String),
    /// An error of another part.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
    /// Whoever read the output has seen enough.
    #[error("the output was closed")]
    Closed,
}

impl CliError {
    fn code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Config(_) | Self::Telemetry(_) => USAGE,
            Self::Answered(problem) if problem.is_refusal() => REFUSED,
            Self::Unreachable { .. } => UNREACHABLE,
            Self::Answered(_) | Self::Failed(_) | Self::Other(_) => FAILED,
            Self::Closed => DONE,
        }
    }
}

/// Says what was in the way, if anything, and returns the exit code.
pub(super) fn finish(outcome: Outcome) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !matches!(error, CliError::Closed) {
                super::output::complain(&error_chain(&error));
            }
            ExitCode::from(error.code())
        }
    }
}
