//! Names that end up in queue names, URLs and metric labels.
//!
//! They are parsed once, where they enter, and are valid ever after. The alphabet is narrow on
//! purpose: a name that is safe in a shell, a URL path and a RabbitMQ pattern at the same time
//! never needs escaping anywhere.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The longest name accepted, in bytes. AMQP limits the whole queue name to 255 bytes
/// (AMQP 0-9-1, section 4.2.5.3, short strings); [`super::layout::Layout::fits`] checks that sum.
pub const MAX_NAME: usize = 200;

/// Why a text is not a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{kind} name {value:?} is not valid: {problem}; a name has 1 to {MAX_NAME} characters, starts with a letter or a digit, and goes on with letters, digits, '.', '_', '$' or '-'"
)]
pub struct NameError {
    /// What was being named: `group`, `bus`, `class`.
    pub kind: &'static str,
    /// The refused text, shortened to what a log line can hold.
    pub value: String,
    /// What is wrong with it.
    pub problem: &'static str,
}

fn check(kind: &'static str, text: &str) -> Result<(), NameError> {
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
        return Ok(());
    };
    let value = text.chars().take(80).collect();
    Err(NameError { kind, value, problem })
}

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $kind:literal) => {
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
                check($kind, &text)?;
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
    "group"
);
name!(
    /// A named event bus. Buses share nothing.
    BusName,
    "bus"
);
name!(
    /// What a node instantiates a listener from.
    ClassName,
    "class"
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
            assert_eq!(BusName::parse(text).unwrap_err().problem, problem, "{text:?}");
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
