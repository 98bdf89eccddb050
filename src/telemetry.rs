//! The log, on standard error.

use crate::config::LogFormat;
use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Filter of the log when no variable sets one: all of hearken's messages, and the drivers'
/// warnings. lapin and sqlx's pool are off, because hearken reports lost connections itself.
const DEFAULT_FILTER: &str = "info,lapin=off,sqlx=warn,sqlx_core::pool=off";

/// Environment variables that set the filter. The first one that is set wins.
const VARIABLES: [&str; 2] = ["HEARKEN_LOG", "RUST_LOG"];

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// A variable holds a text that is not a log filter.
    #[error("{variable} is not a log filter; write it like info,hearken::reconcile=debug")]
    Filter {
        /// Name of the variable.
        variable: &'static str,
        /// What the filter's parser reports.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// The process has a log already.
    #[error("the log cannot be set up, because this process has one already")]
    Taken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts logging to standard error, as `HEARKEN_LOG` or `RUST_LOG` filter it.
///
/// # Errors
/// When a variable holds a wrong filter, or the process has a log already.
pub fn init(format: LogFormat) -> Result<(), TelemetryError> {
    let given = VARIABLES.iter().find_map(|name| Some((*name, std::env::var(name).ok()?)));
    let filter = filter(given.filter(|(_, text)| !text.is_empty()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Taken)
}

fn filter(given: Option<(&'static str, String)>) -> Result<EnvFilter, TelemetryError> {
    match given {
        None => Ok(EnvFilter::new(DEFAULT_FILTER)),
        Some((variable, text)) => EnvFilter::builder()
            .parse(text)
            .map_err(|source| TelemetryError::Filter { variable, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_filter_is_valid() {
        let expected = ["info", "lapin=off", "sqlx=warn"];
        let filter = filter(None).unwrap().to_string();
        assert!(expected.iter().all(|directive| filter.contains(directive)), "{filter}");
    }

    #[test]
    fn a_wrong_filter_names_its_variable() {
        let error = filter(Some(("RUST_LOG", "hearken=loud".into()))).unwrap_err();
        assert!(error.to_string().starts_with("RUST_LOG is not a log filter"), "{error}");
    }
}
