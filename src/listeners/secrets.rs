//! References in a configuration to values on the node: `{"env": "NAME"}` and `{"file": "path"}`.
//!
//! The roster stores the reference. The node that runs the listener looks the value up when it
//! makes the listener. No error message contains a value.

use crate::domain::listener::Configuration;
use serde_json::Value;
use std::{fs::File, io::Read};

/// Largest file that a value is read from, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// A reference to a value.
enum Reference<'a> {
    Env(&'a str),
    File(&'a str),
}

/// References that cannot be resolved, each with its place in the configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub struct SecretErrors(Vec<String>);

/// Whether a value is a reference: an object with exactly one member, `env` or `file`, whose value
/// is a text.
#[must_use]
pub fn is_reference(value: &Value) -> bool {
    reference(value).is_some()
}

/// Replaces every reference, at any depth, with the text that it refers to. One newline at the end
/// of a file is left out, because editors add it.
///
/// # Errors
/// [`SecretErrors`] names every variable and file that is missing or cannot be used, with the place
/// of the reference.
pub fn resolve(configuration: &Configuration) -> Result<Configuration, SecretErrors> {
    let mut resolved = configuration.clone();
    let mut problems = Vec::new();
    for (key, value) in &mut resolved {
        replace(value, key, &mut problems);
    }
    if problems.is_empty() { Ok(resolved) } else { Err(SecretErrors(problems)) }
}

fn reference(value: &Value) -> Option<Reference<'_>> {
    let mut members = value.as_object()?.iter();
    match (members.next()?, members.next()) {
        ((key, Value::String(name)), None) if key == "env" => Some(Reference::Env(name)),
        ((key, Value::String(path)), None) if key == "file" => Some(Reference::File(path)),
        _ => None,
    }
}

fn replace(value: &mut Value, place: &str, problems: &mut Vec<String>) {
    if let Some(reference) = reference(value) {
        match look_up(&reference) {
            Ok(text) => *value = Value::String(text),
            Err(problem) => problems.push(format!("{place}: {problem}")),
        }
        return;
    }
    match value {
        Value::Object(members) => {
            for (key, value) in members {
                replace(value, &format!("{place}.{key}"), problems);
            }
        }
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                replace(item, &format!("{place}[{index}]"), problems);
            }
        }
        _ => {}
    }
}

fn look_up(reference: &Reference<'_>) -> Result<String, String> {
    match reference {
        // The standard library panics on these names.
        Reference::Env(name) if name.is_empty() || name.contains(['=', '\0']) => {
            Err(format!("{name:?} is not the name of an environment variable"))
        }
        Reference::Env(name) => match std::env::var(name) {
            Ok(text) => Ok(text),
            Err(std::env::VarError::NotPresent) => {
                Err(format!("the environment variable {name} is not set on this node"))
            }
            Err(std::env::VarError::NotUnicode(_)) => {
                Err(format!("the environment variable {name} is not UTF-8"))
            }
        },
        Reference::File(path) => {
            let mut text = String::new();
            let read =
                File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_string(&mut text));
            match read {
                Err(error) => Err(format!("the file {path} cannot be read: {error}")),
                Ok(bytes) if bytes as u64 > MAX_FILE => {
                    Err(format!("the file {path} is larger than {MAX_FILE} bytes"))
                }
                Ok(_) => {
                    let line = text.strip_suffix('\n').unwrap_or(&text);
                    Ok(line.strip_suffix('\r').unwrap_or(line).to_owned())
                }
            }
        }
    }
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
        let path = folder.path().join("secret");
        std::fs::write(&path, "s3cret\n\n").unwrap();
        let given = configuration(json!({
            "a": {"env": "CARGO_PKG_NAME"},
            "b": [{"c": {"file": path.to_str().unwrap()}}],
            "d": {"env": "X", "other": 1},
            "e": {"env": 3},
        }));
        let resolved = resolve(&given).unwrap();
        assert_eq!(resolved["a"], "hearken");
        assert_eq!(resolved["b"], json!([{"c": "s3cret\n"}]));
        assert_eq!((&resolved["d"], &resolved["e"]), (&given["d"], &given["e"]));
    }

    #[test]
    fn every_missing_value_is_named_with_its_place() {
        let given = configuration(json!({
            "a": {"env": "HEARKEN_NOT_SET_ANYWHERE"},
            "b": {"c": [{"file": "/nowhere/at/all"}]},
            "d": {"env": "A=B"},
        }));
        let problem = resolve(&given).unwrap_err().to_string();
        assert!(problem.contains(
            "a: the environment variable HEARKEN_NOT_SET_ANYWHERE is not set on this node"
        ));
        assert!(problem.contains("b.c[0]: the file /nowhere/at/all cannot be read"));
        assert!(problem.contains("d: \"A=B\" is not the name of an environment variable"));
    }

    #[test]
    fn an_endless_file_is_not_read_to_its_end() {
        let problem = resolve(&configuration(json!({"a": {"file": "/dev/zero"}}))).unwrap_err();
        assert_eq!(problem.to_string(), "a: the file /dev/zero is larger than 65536 bytes");
    }
}
