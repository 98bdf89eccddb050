//! Names that end up in queue names, URLs and metric labels.
//!
//! They are parsed once, where they enter, and are valid ever after. The alphabet is narrow on
//! purpose: a name that is safe in a shell, a URL path and a RabbitMQ pattern at the same time
//! never needs escaping anywhere.

use super::layout::{CLUSTER_WORDS, OBJECT_WORDS};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest name accepted, in bytes. AMQP limits the whole queue name to 255 bytes
/// (AMQP 0-9-1, section 4.2.5.3, short strings); [`super::layout::Layout::fits`] checks that sum.
pub const MAX_NAME: usize = 200;

/// A text that is not a name, with the reason and a description of a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} name {value:?} is not valid: {problem}")]
pub struct NameError {
    /// What was being named: `group`, `bus`, `class`.
    pub kind: &'static str,
    /// The refused text, shortened to what a log line can hold.
    pub value: String,
    /// The reason.
    pub problem: NameProblem,
}

/// The reason why a text is not a name. Displayed with a description of what would be right.
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

/// A word in a bus name that would give two objects the same name on the broker.
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
    /// A listener's identity: unique in the roster, part of its work queue's name.
    GroupName,
    "group",
    [wrong_form]
);
name!(
    /// A named event bus. Buses share nothing. The name has none of the words that stand around it
    /// in the names of queues and exchanges, so [`super::layout::Layout::read`] finds where it ends.
    BusName,
    "bus",
    [wrong_form, reserved_word]
);
name!(
    /// What a node instantiates a listener from.
    ClassName,
    "class",
    [wrong_form]
);

/// Names an entity that somebody follows: a mailbox, an account. It is a routing key, so it has 1
/// to 255 bytes (AMQP 0-9-1, section 4.2.5.3) and no control character. James writes
/// `MailboxIdRegistrationKey:18`; nothing but the reserved words is given a meaning here.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistrationKey(String);

/// Why a text is not a registration key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "registration key {value:?} is not valid: {problem}; a key has 1 to 255 bytes, no control character, and does not begin with {RESERVED_KEYS:?}"
)]
pub struct KeyError {
    /// The refused text, shortened to what a log line can hold.
    pub value: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

/// What a routing key begins with that hearken uses itself.
pub const RESERVED_KEYS: &str = "hearken:";

impl RegistrationKey {
    /// Parses a key.
    ///
    /// # Errors
    /// [`KeyError`] names the text, what is wrong with it, and what a key looks like.
    pub fn parse(text: impl Into<String>) -> Result<Self, KeyError> {
        let text = text.into();
        let problem = if text.is_empty() {
            "it is empty"
        } else if text.len() > 255 {
            "it is too long"
        } else if text.chars().any(char::is_control) {
            "it has a control character"
        } else if text.starts_with(RESERVED_KEYS) {
            "it is one of hearken's own"
        } else {
            return Ok(Self(text));
        };
        Err(KeyError { value: text.chars().take(80).collect(), problem })
    }

    /// The key as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RegistrationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RegistrationKey {
    type Error = KeyError;
    fn try_from(text: String) -> Result<Self, KeyError> {
        Self::parse(text)
    }
}

impl From<RegistrationKey> for String {
    fn from(key: RegistrationKey) -> String {
        key.0
    }
}

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
    fn a_registration_key_is_what_amqp_can_route_by() {
        for text in ["MailboxIdRegistrationKey:18", "a:b:c", "Key:", "konto é", &"k".repeat(255)] {
            assert_eq!(RegistrationKey::parse(text).unwrap().as_str(), text);
        }
        for (text, problem) in [
            ("", "it is empty"),
            (&*"k".repeat(256), "it is too long"),
            ("a\nb", "it has a control character"),
            ("hearken:topology", "it is one of hearken's own"),
        ] {
            assert_eq!(RegistrationKey::parse(text).unwrap_err().problem, problem, "{text:?}");
        }
    }

    #[test]
    fn a_name_is_checked_when_json_is_read() {
        let error = serde_json::from_str::<GroupName>("\"a b\"").unwrap_err();
        assert!(error.to_string().contains("group name \"a b\" is not valid"));
    }
}
