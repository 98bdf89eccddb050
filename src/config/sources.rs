//! Search for the value of a setting: flag, environment, file, default.

use super::{
    environment::unknown_variable,
    error::{ConfigError, Origin},
    file::File,
    flags::{Flags, SETTINGS, Setting},
};
use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

/// Environment variables of the process, by name.
pub(super) type Environment = BTreeMap<OsString, OsString>;

/// Configuration file that is read from the working directory when `--config` names none.
const DEFAULT_FILE: &str = "hearken.toml";

/// Sources of settings. The first source that has a setting wins.
pub(super) struct Sources<'a> {
    flags: &'a Flags,
    environment: &'a Environment,
    file: Option<File>,
}

impl<'a> Sources<'a> {
    /// Reads the configuration file, if there is one.
    pub(super) fn open(
        flags: &'a Flags,
        environment: &'a Environment,
    ) -> Result<Self, ConfigError> {
        for name in environment.keys().filter_map(|name| name.to_str()) {
            if let Some(problem) = unknown_variable(name) {
                let origin = Origin::Environment(name.to_owned());
                return Err(ConfigError::Invalid { origin, problem });
            }
        }
        let mut sources = Self { flags, environment, file: None };
        let named = sources.get("config", |text| Ok(PathBuf::from(text)))?;
        sources.file = match named {
            Some(path) => Some(File::read(&path)?),
            None if Path::new(DEFAULT_FILE).exists() => Some(File::read(Path::new(DEFAULT_FILE))?),
            None => None,
        };
        Ok(sources)
    }

    /// The configuration file, if there is one.
    pub(super) fn file(&self) -> Option<&File> {
        self.file.as_ref()
    }

    /// Origin of a key or a table of the configuration file.
    pub(super) fn in_file(&self, key: &str) -> Origin {
        let path = self.file.as_ref().map(|file| file.path.clone()).unwrap_or_default();
        Origin::File { key: key.to_owned(), path }
    }

    /// Origin of a setting, if a source has it.
    pub(super) fn origin(&self, name: &'static str) -> Option<Origin> {
        self.find(name).ok().flatten().map(|(origin, _)| origin)
    }

    /// Whether a flag, the environment or the file has a value for a setting.
    pub(super) fn gives(&self, name: &'static str) -> bool {
        self.origin(name).is_some_and(|origin| !matches!(origin, Origin::Default(_)))
    }

    /// Value of a setting, if a source or the default has it.
    pub(super) fn get<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((origin, values)) = self.find(name)? else { return Ok(None) };
        let problem = match values.as_slice() {
            [text] => match parse(text) {
                Ok(value) => return Ok(Some(value)),
                Err(problem) => problem,
            },
            _ => "must be one text, not a list".into(),
        };
        Err(ConfigError::Invalid { origin, problem })
    }

    /// Value of a secret setting, from the setting itself or from the file that its `…-file` names.
    pub(super) fn secret<T>(
        &self,
        name: &'static str,
        file: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<Option<T>, ConfigError> {
        let Some((origin, _)) = self.find(file)? else { return self.get(name, parse) };
        if let Some((other, _)) = self.find(name)? {
            return Err(ConfigError::Incoherent(format!(
                "{other} and {origin} are both given; give one of them"
            )));
        }
        self.get(file, |path| {
            let text = std::fs::read_to_string(path)
                .map_err(|error| format!("names {path}, which cannot be read: {error}"))?;
            parse(text.trim()).map_err(|problem| format!("names {path}, whose content {problem}"))
        })
    }

    /// Value of a setting that has a default.
    pub(super) fn required<T>(
        &self,
        name: &'static str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Result<T, ConfigError> {
        Ok(self.get(name, parse)?.expect("the setting has a default"))
    }

    /// Values of a setting that may have several: repeated, or separated by commas.
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
        let value = self.environment.get(OsStr::new(&variable));
        // A URL that a platform failed to fill in would otherwise start another product: a node
        // that is embedded.
        if value.is_some_and(|value| value.is_empty()) && name.contains("-url") {
            let problem =
                "is set and empty; give it a value, or unset it for a node without services".into();
            return Err(ConfigError::Invalid { origin: Origin::Environment(variable), problem });
        }
        // Any other empty variable counts as unset, because a compose file can empty a variable but
        // not remove it.
        if let Some(value) = value.filter(|value| !value.is_empty()) {
            let origin = Origin::Environment(variable);
            let value = value.clone();
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
