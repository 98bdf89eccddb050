//! Where a setting's value comes from.

use super::{
    file::File,
    flags::{Flags, SETTINGS, Setting},
};
use std::{
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// The environment, by name.
pub(super) type Environment<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// Read in the working directory when `--config` does not name a file.
const DEFAULT_FILE: &str = "hearken.toml";

/// The place that gave a value, as errors call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// `--listen`.
    Flag(&'static str),
    /// `HEARKEN_LISTEN`.
    Environment(String),
    /// `listen in hearken.toml`.
    File {
        /// The key, or the table.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// The default of this flag: no other source sets the value.
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
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The configuration file is not TOML. The offending line is not shown: it may hold a password.
    #[error("{}, line {line}: {problem}", path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Where, from 1.
        line: usize,
        /// What the parser says.
        problem: String,
    },
    /// The configuration file has a key that nothing reads.
    #[error("{origin} is not a setting; the settings are {known}")]
    UnknownKey {
        /// Where it is.
        origin: Origin,
        /// What it could have been.
        known: String,
    },
    /// A value is wrong.
    #[error("{origin} {problem}")]
    Invalid {
        /// Where it comes from.
        origin: Origin,
        /// What is wrong and what would be right; goes on from the origin.
        problem: String,
    },
    /// Settings that do not fit together, or one that is needed and nowhere.
    #[error("{0}")]
    Incoherent(String),
}

/// The places in which a setting may be, in order.
pub(super) struct Sources<'a> {
    flags: &'a Flags,
    environment: &'a Environment<'a>,
    file: Option<File>,
}

impl<'a> Sources<'a> {
    /// Reads the configuration file, if there is one.
    pub(super) fn open(
        flags: &'a Flags,
        environment: &'a Environment<'a>,
    ) -> Result<Self, ConfigError> {
        let mut sources = Self { flags, environment, file: None };
        let named = sources.get("config", |text| Ok(PathBuf::from(text)))?;
        sources.file = match named {
            Some(path) => Some(File::read(&path)?),
            None if Path::new(DEFAULT_FILE).exists() => Some(File::read(Path::new(DEFAULT_FILE))?),
            None => None,
        };
        Ok(sources)
    }

    /// The configuration file.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// A place in the configuration file.
    pub(super) fn in_file(&self, key: &str) -> Origin {
        let path = self.file.as_ref().map(|file| file.path.clone()).unwrap_or_default();
        Origin::File { key: key.to_owned(), path }
    }

    /// The place that gives a setting, when one does.
    pub(super) fn origin(&self, name: &'static str) -> Option<Origin> {
        self.find(name).ok().flatten().map(|(origin, _)| origin)
    }

    /// A setting, when it is somewhere or has a default.
    pub(super) fn get<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((origin, values)) = self.find(name)? else { return Ok(None) };
        let problem = match values.as_slice() {
            [one] => match parse(one) {
                Ok(value) => return Ok(Some(value)),
                Err(problem) => problem,
            },
            _ => "must be one text, not a list".into(),
        };
        Err(ConfigError::Invalid { origin, problem })
    }

    /// A setting that has a default.
    pub(super) fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        Ok(self.get(name, parse)?.expect("the setting has a default"))
    }

    /// A setting with several values, given apart or with commas between them.
    pub(super) fn list(&self, name: &'static str) -> Result<Vec<String>, ConfigError> {
        let Some((origin, values)) = self.find(name)? else { return Ok(Vec::new()) };
        let values = values.iter().flat_map(|value| value.split(',')).map(str::trim);
        let values: Vec<_> = values.map(str::to_owned).collect();
        if values.iter().any(String::is_empty) {
            return Err(ConfigError::Invalid { origin, problem: "has an empty value".into() });
        }
        Ok(values)
    }

    fn find(&self, name: &'static str) -> Result<Option<(Origin, Vec<String>)>, ConfigError> {
        let setting = setting(name);
        if let Some(values) = self.flags.get(name) {
            return Ok(Some((Origin::Flag(name), values.to_vec())));
        }
        let variable = setting.variable();
        // Empty is how a variable is unset where it cannot be taken away, as in a compose file.
        if let Some(value) = (self.environment)(&variable).filter(|value| !value.is_empty()) {
            let origin = Origin::Environment(variable);
            return match value.into_string() {
                Ok(text) => Ok(Some((origin, vec![text]))),
                Err(_) => {
                    Err(ConfigError::Invalid { origin, problem: "is not valid UTF-8".into() })
                }
            };
        }
        if let Some(values) = self.file.as_ref().and_then(|file| file.settings.get(name)) {
            return Ok(Some((self.in_file(name), values.clone())));
        }
        Ok(setting.default.map(|text| (Origin::Default(name), vec![text.to_owned()])))
    }
}

fn setting(name: &str) -> &'static Setting {
    SETTINGS.iter().find(|setting| setting.name == name).expect("the setting is in the table")
}
