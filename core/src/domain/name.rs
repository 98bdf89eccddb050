//! Names of groups, buses and classes, and registration keys.
//!
//! A name is parsed once, where it enters the program, and is valid from then on. Names become
//! parts of queue names, URLs and metric labels. So their alphabet is narrow: a name is safe in a
//! shell, in the path of a URL and in a RabbitMQ pattern, and is never escaped.

mod registration_key;

pub use registration_key::{KeyError, RESERVED_KEYS, RegistrationKey};

use super::layout::{CLUSTER_WORDS, OBJECT_WORDS};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Longest name, in bytes. AMQP limits the whole name of a queue to 255 bytes (AMQP 0-9-1, section
/// 4.2.5.3, short strings); [`super::layout::Layout::fits`] checks the whole name.
pub const MAX_NAME: usize = 200;

/// A text that is not a name, with the reason and a description of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {value:?} is not valid: {problem}")]
pub struct NameError {
    /// Kind of the name: `group`, `bus` or `class`.
    pub kind: &'static str,
    /// The refused text, cut to 80 characters.
    pub value: String,
    /// The reason.
    pub problem: NameProblem,
}

/// Reason why a text is not a name. Its message describes a valid name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameProblem {
    /// The text does not have the form of a name.
    #[error(
        "{0}; a name has 1 to {MAX_NAME} characters, starts with a letter or a digit, and goes on with letters, digits, '.', '_', '$' or '-'"
    )]
    Form(&'static str),
    /// A part of a bus name is a word that stands after the bus in the names of queues and
    /// exchanges.
    #[error(
        "{0:?} between its dots is reserved: it stands after the bus in the names of queues and exchanges, so two buses could get the same queue; choose a name without the parts {words}",
        words = OBJECT_WORDS.join(", ")
    )]
    ObjectWord(&'static str),
    /// A bus name begins with a word that stands in the place of a bus in the names of queues and
    /// exchanges.
    #[error(
        "{0:?} at its beginning is reserved: it stands in the place of the bus in the names of hearken's own exchanges and queues; choose a name that begins with another word than {words}",
        words = CLUSTER_WORDS.join(" or ")
    )]
    ClusterWord(&'static str),
}

fn check(
    kind: &'static str,
    text: &str,
    rules: &[fn(&str) -> Option<NameProblem>],
) -> Result<(), NameError> {
    let Some(problem) = rules.iter().find_map(|rule| rule(text)) else { return Ok(()) };
    let value = text.chars().take(80).collect();
    Err(NameError { kind, value, problem })
}

fn wrong_form(text: &str) -> Option<NameProblem> {
    let bytes = text.as_bytes();
    let problem = if bytes.is_empty() {
        "it is empty"
    } else if bytes.len() > MAX_NAME {
        "it is too long"
    } else if text.chars().any(char::is_control) {
        "it has a control character"
    } else if !bytes[0].is_ascii_alphanumeric() {
        "its first character is not a letter or a digit"
    } else if !bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"._$-".contains(b)) {
        "it has a character that names cannot have"
    } else {
        return None;
    };
    Some(NameProblem::Form(problem))
}

/// The word in a bus name that would give two objects the same name on the broker.
fn reserved_word(text: &str) -> Option<NameProblem> {
    let cluster = CLUSTER_WORDS.into_iter().find(|word| text.split('.').next() == Some(word));
    let object = || OBJECT_WORDS.into_iter().find(|word| text.split('.').any(|part| part == *word));
    cluster.map(NameProblem::ClusterWord).or_else(|| object().map(NameProblem::ObjectWord))
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal, [$($rule:ident),+]) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// Parses a name.
            ///
            /// # Errors
            /// [`NameError`] names the text, what is wrong with it, and what a name looks like.
            pub fn parse(text: impl Into<String>) -> Result<Self, NameError> {
                let text = text.into();
                check($kind, &text, &[$($rule),+])?;
                Ok(Self(text))
            }

            /// The name as it was written.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl TryFrom<String> for $type {
            type Error = NameError;
            fn try_from(text: String) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl std::str::FromStr for $type {
            type Err = NameError;
            fn from_str(text: &str) -> Result<Self, NameError> {
                Self::parse(text)
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name!(
    /// Identity of a listener: unique in the roster, and part of the name of its work queue.
    GroupName,
    "group",
    [wrong_form]
);
name!(
    /// Name of an event bus. Buses share no object on the broker. A bus name has none of the words
    /// that stand around it in the names of queues and exchanges, so
    /// [`super::layout::Layout::read`] finds its end.
    BusName,
    "bus",
    [wrong_form, reserved_word]
);
name!(
    /// Name of the class that a node makes a listener from.
    ClassName,
    "class",
    [wrong_form]
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn james_class_names_are_names() {
        for text in ["a", "org.apache.james.Group$Inner", "search-index_2", "0"] {
            assert_eq!(GroupName::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_refused_name_says_what_is_wrong_with_it() {
        let long = "x".repeat(MAX_NAME + 1);
        for (text, problem) in [
            ("", "it is empty"),
            (long.as_str(), "it is too long"),
            ("a\u{7}b", "it has a control character"),
            (".hidden", "its first character is not a letter or a digit"),
            ("with space", "it has a character that names cannot have"),
            ("naïve", "it has a character that names cannot have"),
        ] {
            let error = BusName::parse(text).unwrap_err();
            assert_eq!(error.problem, NameProblem::Form(problem), "{text:?}");
        }
    }

    #[test]
    fn a_bus_name_that_would_share_a_name_on_the_broker_is_refused() {
        for (text, word) in [
            ("x.keys", "keys"),
            ("return", "return"),
            ("a.parked.b", "parked"),
            ("a.wait.100", "wait"),
            ("a.work.x", "work"),
            ("a.node", "node"),
            ("shared", "shared"),
        ] {
            let error = BusName::parse(text).unwrap_err();
            assert_eq!(error.problem, NameProblem::ObjectWord(word), "{text:?}");
            assert!(error.to_string().contains(&format!("{word:?} between its dots is reserved")));
        }
        for (text, word) in [("meta", "meta"), ("push.stream", "push")] {
            let error = BusName::parse(text).unwrap_err();
            assert_eq!(error.problem, NameProblem::ClusterWord(word), "{text:?}");
        }
        for text in ["working", "a.keysx", "Meta", "metadata", "a.meta", "mail.push", "a.v1"] {
            assert_eq!(BusName::parse(text).unwrap().as_str(), text);
        }
        for text in ["x.work.y", "keys", "meta"] {
            assert_eq!(GroupName::parse(text).unwrap().as_str(), text);
        }
    }

    #[test]
    fn a_name_is_checked_when_json_is_read() {
        let error = serde_json::from_str::<GroupName>("\"a b\"").unwrap_err();
        assert!(error.to_string().contains("group name \"a b\" is not valid"));
    }
}
