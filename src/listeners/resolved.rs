//! A configuration whose references are resolved, and the redaction of its values from texts.

use crate::domain::listener::Configuration;
use serde_json::Value;
use std::{collections::BTreeSet, fmt, sync::Arc};
use url::Url;

/// Text that stands for a secret value.
pub const REDACTED: &str = "***";

/// A configuration whose references are replaced with the values that they refer to. `Debug` shows
/// none of them.
#[derive(Clone)]
pub struct ResolvedConfiguration {
    configuration: Configuration,
    redactions: Arc<Redactions>,
    places: Vec<String>,
}

impl ResolvedConfiguration {
    /// Puts the values into a configuration. Each value comes with the JSON pointer of its
    /// reference.
    pub(super) fn new(configuration: Configuration, values: Vec<(String, String)>) -> Self {
        let redactions = Arc::new(Redactions::new(values.iter().map(|(_, text)| text.as_str())));
        let mut whole = Value::Object(configuration);
        let mut places = Vec::with_capacity(values.len());
        for (place, text) in values {
            if let Some(value) = whole.pointer_mut(&place) {
                *value = Value::String(text);
            }
            places.push(place);
        }
        let configuration = match whole {
            Value::Object(configuration) => configuration,
            _ => Configuration::new(),
        };
        Self { configuration, redactions, places }
    }

    /// The configuration with the secret values in it. Only for the class that makes a listener.
    #[must_use]
    pub fn expose(&self) -> &Configuration {
        &self.configuration
    }

    /// Whether the value at a JSON pointer, or a part of it, was a reference.
    #[must_use]
    pub fn is_secret(&self, pointer: &str) -> bool {
        let below =
            |place: &str| place.strip_prefix(pointer).is_some_and(|end| end.starts_with('/'));
        self.places.iter().any(|place| place == pointer || below(place))
    }

    /// The secret values, to take them out of texts.
    #[must_use]
    pub fn redactions(&self) -> Arc<Redactions> {
        Arc::clone(&self.redactions)
    }
}

/// A configuration without references.
impl From<Configuration> for ResolvedConfiguration {
    fn from(configuration: Configuration) -> Self {
        Self::new(configuration, Vec::new())
    }
}

impl fmt::Debug for ResolvedConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ResolvedConfiguration({REDACTED})")
    }
}

/// Secret values of one listener, which must not appear in any text that leaves the listener.
#[derive(Default)]
pub struct Redactions {
    /// Texts to take out, longest first, so that a value is taken out before a part of it.
    texts: Vec<String>,
}

impl Redactions {
    fn new<'a>(values: impl Iterator<Item = &'a str>) -> Self {
        let texts: BTreeSet<_> = values.flat_map(forms).filter(|text| !text.is_empty()).collect();
        let mut texts: Vec<_> = texts.into_iter().collect();
        texts.sort_by_key(|text| std::cmp::Reverse(text.len()));
        Self { texts }
    }

    /// Length of the longest text that is taken out, in bytes.
    #[must_use]
    pub fn longest(&self) -> usize {
        self.texts.first().map_or(0, String::len)
    }

    /// A text with each secret value replaced by `***`.
    #[must_use]
    pub fn redact(&self, text: &str) -> String {
        let mut redacted = text.to_owned();
        for secret in &self.texts {
            if redacted.contains(secret.as_str()) {
                redacted = redacted.replace(secret.as_str(), REDACTED);
            }
        }
        redacted
    }
}

impl fmt::Debug for Redactions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Redactions({REDACTED})")
    }
}

/// Forms in which a text may show a value: as it is, trimmed, escaped as JSON or as `Debug` does,
/// and, for a URL, the URL as it is written by the library and its telling parts.
fn forms(value: &str) -> Vec<String> {
    let unquoted = |text: String| text.get(1..text.len() - 1).unwrap_or_default().to_owned();
    let mut forms = vec![
        value.to_owned(),
        value.trim().to_owned(),
        unquoted(Value::from(value).to_string()),
        unquoted(format!("{value:?}")),
    ];
    if let Ok(url) = Url::parse(value) {
        let well_known = matches!(url.scheme(), "http" | "https");
        let parts = [
            Some(url.as_str()),
            Some(url.scheme()).filter(|_| !well_known),
            Some(url.username()),
            url.password(),
            url.host_str(),
            Some(url.path()).filter(|path| path.len() > 1),
            url.query(),
            url.fragment(),
        ];
        forms.extend(parts.into_iter().flatten().map(str::to_owned));
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redact(secret: &str, text: &str) -> String {
        Redactions::new([secret].into_iter()).redact(text)
    }

    #[test]
    fn a_value_is_taken_out_of_a_text_in_every_form() {
        assert_eq!(redact("hunter2", "is \"hunter2\"; hunter2!"), "is \"***\"; ***!");
        assert_eq!(redact("a\"b\n", r#"is "a\"b\n""#), r#"is "***""#);
        assert_eq!(redact(" padded ", "is padded"), "is ***");
        let url = "https://Hook.example/T0/token?k=v";
        assert_eq!(redact(url, "no route to hook.example"), "no route to ***");
        assert_eq!(redact(url, "POST /T0/token"), "POST ***");
        assert_eq!(redact("", "nothing to hide"), "nothing to hide");
    }
}
