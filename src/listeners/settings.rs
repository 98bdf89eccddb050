//! Reader of a class's configuration, which reports all mistakes at once.

use super::secrets::is_reference;
use crate::domain::{admission::ConfigurationError, listener::Configuration};
use serde_json::Value;

/// Reads the fields of a configuration one after the other and collects the mistakes.
///
/// A field whose value is a reference counts as absent. Its value is known only on the node that
/// makes the listener, where the reference has been resolved.
pub struct Reader<'a> {
    configuration: &'a Configuration,
    known: Vec<&'static str>,
    errors: Vec<ConfigurationError>,
}

impl<'a> Reader<'a> {
    /// Reader of a configuration.
    #[must_use]
    pub fn new(configuration: &'a Configuration) -> Self {
        Self { configuration, known: Vec::new(), errors: Vec::new() }
    }

    /// Reads a field. An `Err` of `parse` says what is wrong with the value and what would be
    /// right; it becomes a mistake at the field.
    pub fn field<T>(
        &mut self,
        name: &'static str,
        parse: impl FnOnce(&'a Value) -> Result<T, String>,
    ) -> Option<T> {
        self.known.push(name);
        let value = self.configuration.get(name).filter(|value| !is_reference(value))?;
        parse(value).map_err(|problem| self.refuse(&[name], problem)).ok()
    }

    /// Requires a field, with any value. `problem` is the mistake when the field is absent.
    pub fn require(&mut self, name: &'static str, problem: &str) {
        if !self.configuration.contains_key(name) {
            self.refuse(&[name], problem.to_owned());
        }
    }

    /// Notes a mistake at a path of keys.
    pub fn refuse(&mut self, path: &[&str], problem: String) {
        let key = |key: &&str| format!("/{}", key.replace('~', "~0").replace('/', "~1"));
        let pointer = path.iter().map(key).collect();
        self.errors.push(ConfigurationError { pointer, problem });
    }

    /// Ends reading. Fields that were not read are mistakes too.
    ///
    /// # Errors
    /// Every mistake.
    pub fn finish(mut self) -> Result<(), Vec<ConfigurationError>> {
        let configuration = self.configuration;
        for key in configuration.keys() {
            if !self.known.contains(&key.as_str()) {
                let known = self.known.join(", ");
                self.refuse(&[key], format!("there is no such setting; there are {known}"));
            }
        }
        if self.errors.is_empty() { Ok(()) } else { Err(self.errors) }
    }
}

/// Mistakes of a configuration as one sentence, for an operator.
pub(super) fn sentence(errors: &[ConfigurationError]) -> String {
    let clause = |e: &ConfigurationError| format!("{}: {}", e.pointer, e.problem);
    errors.iter().map(clause).collect::<Vec<_>>().join("; ")
}
