//! End of a command: its exit code, and its message on standard error.

use super::{problem::ServerProblem, terminal::complain};
use crate::{config::ConfigError, error_chain::error_chain, telemetry::TelemetryError};
use std::process::ExitCode;

/// Exit code of a command that succeeded.
pub(super) const DONE: u8 = 0;
/// Exit code of a command that failed, or that found trouble.
pub(super) const FAILED: u8 = 1;
/// Exit code of a command whose arguments or settings are wrong.
pub(super) const USAGE: u8 = 2;
/// Exit code of a command that the server refused.
pub(super) const REFUSED: u8 = 3;
/// Exit code of a command that could not reach the server.
pub(super) const UNREACHABLE: u8 = 4;

/// Exit code of a command whose change is in the roster, and which waited for the broker in vain.
pub(super) const PENDING: u8 = 5;

/// End of a command: [`DONE`], [`PENDING`], [`FAILED`] when the trouble that it found is printed
/// already, or the error that ended it early.
pub(super) type CommandEnd = Result<u8, CliError>;

/// Error that ends a command early.
#[derive(Debug, thiserror::Error)]
pub(super) enum CliError {
    /// The arguments are wrong.
    #[error("{0}")]
    Usage(String),
    /// A setting is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The filter of the log is wrong.
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    /// The server refused the request, or failed.
    #[error("{0}")]
    Answered(ServerProblem),
    /// No complete answer came.
    #[error("{what}: {why}")]
    Unreachable {
        /// The attempt, and what the caller can do.
        what: String,
        /// The deepest cause, such as `Connection refused`.
        why: String,
    },
    /// The command failed for another reason.
    #[error("{0}")]
    Failed(String),
    /// An operation of the library failed.
    #[error(transparent)]
    Other(#[from] anyhow::Error),
    /// The reader of the output closed it, such as `head`.
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

/// Prints the error of a command, if it has one, and returns the exit code.
pub(super) fn finish(outcome: CommandEnd) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            if !matches!(error, CliError::Closed) {
                complain(&error_chain(&error));
            }
            ExitCode::from(error.code())
        }
    }
}
