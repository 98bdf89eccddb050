//! References in a configuration to values on the node: `{"env": "HEARKEN_SECRET_NAME"}` and
//! `{"file": "name"}`, a file directly below `--secrets-dir`.
//!
//! The roster stores the reference. The node that runs the listener looks the value up when it
//! makes the listener. Other variables and files are refused, because an administrator of listeners
//! must not be able to send the node's own passwords to a webhook. No error message contains a
//! value.

use super::resolved::ResolvedConfiguration;
use crate::domain::{
    admission::ConfigurationError,
    listener::{Configuration, SECRET_PREFIX},
};
use serde_json::Value;
use std::{fs::File, io::Read, path::PathBuf};

/// Largest file that a value is read from, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Forms of a reference, for the messages that refuse another form.
const FORMS: &str = "write {\"env\": \"HEARKEN_SECRET_NAME\"}, or {\"file\": \"name\"} for a file directly below --secrets-dir";

/// A reference to a value.
#[derive(Debug)]
enum Reference<'a> {
    Env(&'a str),
    File(&'a str),
}

/// References that cannot be resolved, each with its place in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct SecretErrors(Vec<String>);

/// Whether a value has the form of a reference: an object whose only member is `env` or `file`.
/// The name in the reference may still be refused.
#[must_use]
pub fn is_reference(value: &Value) -> bool {
    reference(value).is_some()
}

/// Mistakes for the references in a configuration that no node will resolve.
#[must_use]
pub fn refused_references(configuration: &Configuration) -> Vec<ConfigurationError> {
    let mut errors = Vec::new();
    for (key, value) in configuration {
        visit(value, &pointer("", key), &mut |place, reference| {
            if let Err(problem) = reference {
                errors.push(ConfigurationError { pointer: place.to_owned(), problem });
            }
        });
    }
    errors
}

/// Where a node looks up the values of references: its environment, and one directory.
#[derive(Debug, Clone, Default)]
pub struct SecretSources {
    directory: Option<PathBuf>,
}

impl SecretSources {
    /// Sources with the directory of `--secrets-dir`, if the node has one.
    #[must_use]
    pub fn new(directory: Option<PathBuf>) -> Self {
        Self { directory }
    }

    /// Replaces every reference, at any depth, with the text that it refers to. One newline at the
    /// end of a file is left out, because editors add it.
    ///
    /// # Errors
    /// [`SecretErrors`] names every variable and file that is refused, is missing or cannot be
    /// used, with the place of the reference.
    pub fn resolve(
        &self,
        configuration: &Configuration,
    ) -> Result<ResolvedConfiguration, SecretErrors> {
        let mut found = Vec::new();
        let mut problems = Vec::new();
        for (key, value) in configuration {
            visit(value, &pointer("", key), &mut |place, reference| match reference
                .and_then(|reference| self.look_up(&reference))
            {
                Ok(text) => found.push((place.to_owned(), text)),
                Err(problem) => problems.push(format!("{place}: {problem}")),
            });
        }
        if !problems.is_empty() {
            return Err(SecretErrors(problems));
        }
        Ok(ResolvedConfiguration::new(configuration.clone(), found))
    }

    fn look_up(&self, reference: &Reference<'_>) -> Result<String, String> {
        match reference {
            Reference::Env(name) => match std::env::var(name) {
                Ok(text) => Ok(text),
                Err(std::env::VarError::NotPresent) => {
                    Err(format!("the environment variable {name} is not set on this node"))
                }
                Err(std::env::VarError::NotUnicode(_)) => {
                    Err(format!("the environment variable {name} is not UTF-8"))
                }
            },
            Reference::File(name) => self.read(name),
        }
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let Some(directory) = &self.directory else {
            return Err(format!(
                "the file {name} cannot be read, because this node has no directory of secrets; start it with --secrets-dir"
            ));
        };
        let unreadable =
            |error| format!("the file {name} in --secrets-dir cannot be read: {error}");
        // Secrets that Kubernetes mounts are symbolic links within the directory.
        let directory = directory.canonicalize().map_err(unreadable)?;
        let path = directory.join(name).canonicalize().map_err(unreadable)?;
        if !path.starts_with(&directory) {
            return Err(format!(
                "the file {name} in --secrets-dir is a link to a place outside of it; put the file itself there"
            ));
        }
        // Opening a named pipe would wait for a writer.
        if !path.metadata().map_err(unreadable)?.is_file() {
            return Err(format!("{name} in --secrets-dir is not a regular file"));
        }
        let mut text = String::new();
        let file = File::open(path).map_err(unreadable)?;
        let bytes = file.take(MAX_FILE + 1).read_to_string(&mut text).map_err(unreadable)?;
        if bytes as u64 > MAX_FILE {
            return Err(format!(
                "the file {name} in --secrets-dir is larger than {MAX_FILE} bytes"
            ));
        }
        let line = text.strip_suffix('\n').unwrap_or(&text);
        Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
    }
}

/// Calls `found` for each reference at or below a value, with its JSON pointer.
fn visit(value: &Value, place: &str, found: &mut impl FnMut(&str, Result<Reference<'_>, String>)) {
    if let Some(reference) = reference(value) {
        return found(place, reference);
    }
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                visit(value, &pointer(place, key), found);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                visit(item, &pointer(place, &index.to_string()), found);
            }
        }
        _ => {}
    }
}

/// JSON pointer (RFC 6901) of a member.
fn pointer(place: &str, key: &str) -> String {
    format!("{place}/{}", key.replace('~', "~0").replace('/', "~1"))
}

fn reference(value: &Value) -> Option<Result<Reference<'_>, String>> {
    let mut members = value.as_object()?.iter();
    let ((key, name), None) = (members.next()?, members.next()) else { return None };
    let name = name.as_str();
    match key.as_str() {
        "env" => Some(name.filter(|name| is_variable(name)).map(Reference::Env).ok_or_else(|| {
            format!("may name only an environment variable of capitals, digits and _ that begins with {SECRET_PREFIX}; {FORMS}")
        })),
        "file" => Some(name.filter(|name| is_file_name(name)).map(Reference::File).ok_or_else(|| {
            format!("may name only a file, without a path; {FORMS}")
        })),
        _ => None,
    }
}

fn is_variable(name: &str) -> bool {
    let word = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    name.strip_prefix(SECRET_PREFIX).is_some_and(|end| !end.is_empty() && end.chars().all(word))
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty() && !name.starts_with('.') && !name.contains(['/', '\\', '\0'])
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn configuration(value: Value) -> Configuration {
        let Value::Object(map) = value else { panic!("not an object") };
        map
    }

    #[test]
    fn a_reference_is_replaced_at_any_depth_and_other_values_stay() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("secret"), "s3cret\n\n").unwrap();
        let given = configuration(json!({
            "a": {"file": "secret"},
            "b": [{"c": {"file": "secret"}}],
            "d": {"env": "X", "other": 1},
        }));
        let resolved = SecretSources::new(Some(folder.path().into())).resolve(&given).unwrap();
        let shown = resolved.expose();
        assert_eq!(shown["a"], "s3cret\n");
        assert_eq!(shown["b"], json!([{"c": "s3cret\n"}]));
        assert_eq!(shown["d"], given["d"]);
        assert!(!format!("{resolved:?}").contains("s3cret"), "{resolved:?}");
        assert!(resolved.is_secret("/b/0/c") && !resolved.is_secret("/d"));
    }

    #[test]
    fn every_missing_value_is_named_with_its_place() {
        let given = configuration(json!({
            "a": {"env": "HEARKEN_SECRET_NOT_SET_ANYWHERE"},
            "b": {"c": [{"file": "nowhere"}]},
        }));
        let folder = tempfile::tempdir().unwrap();
        let sources = SecretSources::new(Some(folder.path().into()));
        let problem = sources.resolve(&given).unwrap_err().to_string();
        let variable =
            "/a: the environment variable HEARKEN_SECRET_NOT_SET_ANYWHERE is not set on this node";
        assert!(problem.contains(variable), "{problem}");
        assert!(problem.contains("/b/c/0: the file nowhere in --secrets-dir cannot be read"));
        let problem = SecretSources::default().resolve(&given).unwrap_err().to_string();
        assert!(problem.contains("start it with --secrets-dir"), "{problem}");
    }

    #[test]
    fn any_other_variable_or_path_is_refused_with_the_forms_that_are_allowed() {
        for refused in [
            json!({"env": "HEARKEN_DATABASE_URL"}),
            json!({"env": "PATH"}),
            json!({"env": "HEARKEN_SECRET_"}),
            json!({"env": "HEARKEN_SECRET_A=B"}),
            json!({"env": 5}),
            json!({"file": "/etc/passwd"}),
            json!({"file": "../token"}),
            json!({"file": ".."}),
            json!({"file": ""}),
            json!({"file": ["a"]}),
        ] {
            let given = configuration(json!({"a": [refused.clone()]}));
            let errors = refused_references(&given);
            assert_eq!(errors.len(), 1, "{refused}");
            assert_eq!(errors[0].pointer, "/a/0");
            assert!(errors[0].problem.contains("HEARKEN_SECRET_NAME"), "{errors:?}");
            let folder = tempfile::tempdir().unwrap();
            assert!(SecretSources::new(Some(folder.path().into())).resolve(&given).is_err());
        }
        let good = json!({"a": {"env": "HEARKEN_SECRET_A1"}, "b": {"file": "b.key"}});
        assert_eq!(refused_references(&configuration(good)), []);
    }

    #[test]
    fn a_link_out_of_the_directory_is_refused_and_a_link_within_is_followed() {
        let (folder, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(outside.path().join("token"), "t").unwrap();
        std::fs::write(folder.path().join("within"), "w").unwrap();
        let link = |to: PathBuf, name: &str| {
            std::os::unix::fs::symlink(to, folder.path().join(name)).unwrap();
        };
        link(outside.path().join("token"), "out");
        link(folder.path().join("within"), "in");
        link("/dev/zero".into(), "zero");
        let sources = SecretSources::new(Some(folder.path().into()));
        let resolve = |name: &str| sources.resolve(&configuration(json!({"a": {"file": name}})));
        assert_eq!(resolve("in").unwrap().expose()["a"], "w");
        for name in ["out", "zero"] {
            assert!(resolve(name).unwrap_err().to_string().contains("outside"), "{name}");
        }
    }

    #[test]
    fn a_file_that_is_too_large_or_no_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("large"), vec![b'a'; 65_537]).unwrap();
        std::fs::create_dir(folder.path().join("folder")).unwrap();
        let sources = SecretSources::new(Some(folder.path().into()));
        let resolve = |name: &str| sources.resolve(&configuration(json!({"a": {"file": name}})));
        let large = resolve("large").unwrap_err().to_string();
        assert!(large.ends_with("is larger than 65536 bytes"), "{large}");
        let no_file = resolve("folder").unwrap_err().to_string();
        assert!(no_file.ends_with("is not a regular file"), "{no_file}");
    }
}
