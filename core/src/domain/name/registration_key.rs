//! Registration keys.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Name of an entity that key listeners follow, such as a mailbox or an account.
///
/// A key is used as a routing key, so it has 1 to 255 bytes (AMQP 0-9-1, section 4.2.5.3) and no
/// control character. James writes `MailboxIdRegistrationKey:18`. hearken gives a meaning only to
/// keys that begin with [`RESERVED_KEYS`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RegistrationKey(String);

/// Reason why a text is not a registration key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "registration key {value:?} is not valid: {problem}; a key has 1 to 255 bytes, no control character, and does not begin with {RESERVED_KEYS:?}"
)]
pub struct KeyError {
    /// The refused text, cut to 80 characters.
    pub value: String,
    /// What is wrong with the text.
    pub problem: &'static str,
}

/// Beginning of the routing keys that hearken uses itself.
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
    fn every_text_that_amqp_can_route_by_is_a_registration_key() {
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
}
