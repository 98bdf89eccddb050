//! Errors of settings, and the origin that each error names.

use std::{fmt, path::PathBuf};

/// Source that has a value, as errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag: `--listen`.
    Flag(&'static str),
    /// An environment variable: `HEARKEN_LISTEN`.
    Environment(String),
    /// A key or a table of the configuration file: `listen in hearken.toml`.
    File {
        /// The key, or the table.
        key: String,
        /// Path of the file.
        path: PathBuf,
    },
    /// The default of this flag: no other source has a value.
    Default(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(name) => write!(f, "--{name}"),
            Self::Environment(variable) => f.write_str(variable),
            Self::File { key, path } => write!(f, "{key} in {}", path.display()),
            Self::Default(name) => write!(f, "the default of --{name}"),
        }
    }
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The configuration file cannot be read.
    #[error("the configuration file {} cannot be read", path.display())]
    Unreadable {
        /// Path of the file.
        path: PathBuf,
        /// Error of the file system.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is not TOML. The offending line is not shown: it may hold a password.
    #[error("{}, line {line}: {problem}", path.display())]
    NotToml {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, from 1.
        line: usize,
        /// Message of the parser.
        problem: String,
    },
    /// The configuration file has a key that nothing reads.
    #[error("{origin} is not a setting; the settings are {known}")]
    UnknownKey {
        /// The key.
        origin: Origin,
        /// Names of the settings.
        known: String,
    },
    /// A value is wrong.
    #[error("{origin} {problem}")]
    Invalid {
        /// Source of the value.
        origin: Origin,
        /// What is wrong and what would be right. Continues the sentence that the origin begins.
        problem: String,
    },
    /// Settings contradict each other, or a needed setting is missing.
    #[error("{0}")]
    Incoherent(String),
}
