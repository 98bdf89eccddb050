//! URLs that may contain a password.

use std::fmt;
use url::Url;

/// URL whose password is never shown: `Debug` and `Display` write `***` instead of it.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl {
    text: String,
    shown: String,
}

impl SecretUrl {
    /// Reads the URL of a PostgreSQL database.
    ///
    /// # Errors
    /// What is wrong with the URL. The text does not repeat the URL.
    pub fn database(text: &str) -> Result<Self, String> {
        Self::parse(
            text,
            &["postgres", "postgresql"],
            "postgres://user:password@host:5432/database",
        )
    }

    /// Reads an AMQP URL.
    ///
    /// # Errors
    /// What is wrong with the URL. The text does not repeat the URL.
    pub fn amqp(text: &str) -> Result<Self, String> {
        Self::parse(text, &["amqp", "amqps"], "amqp://user:password@host:5672/vhost")
    }

    /// Reads the URL of a management API.
    ///
    /// # Errors
    /// What is wrong with the URL. The text does not repeat the URL.
    pub fn management(text: &str) -> Result<Self, String> {
        Self::parse(text, &["http", "https"], "http://user:password@host:15672")
    }

    fn parse(text: &str, schemes: &[&str], example: &str) -> Result<Self, String> {
        let url = Url::parse(text)
            .map_err(|error| format!("is not a URL ({error}); write it like {example}"))?;
        if !schemes.contains(&url.scheme()) || !url.has_authority() {
            let schemes = schemes.join(":// or ");
            return Err(format!("must start with {schemes}://; write it like {example}"));
        }
        Ok(Self { text: text.to_owned(), shown: redact(url) })
    }

    /// URL with its password, for the client that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.text
    }

    /// Scheme, host, port and path of the URL, without user, password and parameters.
    #[must_use]
    pub fn without_credentials(&self) -> String {
        let authority_and_path = self.shown.split(['?', '#']).next().unwrap_or_default();
        let (scheme, rest) = authority_and_path.split_once("://").unwrap_or_default();
        let end = rest.find('/').unwrap_or(rest.len());
        let start = rest[..end].rfind('@').map_or(0, |at| at + 1);
        format!("{scheme}://{}", &rest[start..])
    }
}

/// Replaces the password of a URL. A PostgreSQL URL may also have the password as a parameter.
fn redact(mut url: Url) -> String {
    if url.password().is_some() {
        // Fails only for a URL without a host, and such a URL has no password.
        let _ = url.set_password(Some("***"));
    }
    if url.query().is_some_and(|query| query.contains("password")) {
        let pairs: Vec<_> = url.query_pairs().into_owned().collect();
        let mut query = url.query_pairs_mut();
        query.clear();
        for (name, value) in pairs {
            let value = if name.contains("password") { "***" } else { &value };
            query.append_pair(&name, value);
        }
    }
    url.into()
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_exposed_text_has_the_password() {
        for text in [
            "postgres://hearken:hunter2@db/hearken",
            "postgres://hearken@db/hearken?sslmode=require&password=hunter2",
        ] {
            let url = SecretUrl::database(text).unwrap();
            assert_eq!(url.expose(), text);
            assert!(!format!("{url} {url:?}").contains("hunter2"), "{url}");
            assert!(format!("{url}").contains("***"), "{url}");
            assert_eq!(url.without_credentials(), "postgres://db/hearken");
        }
    }

    #[test]
    fn a_wrong_url_is_refused_without_repeating_it() {
        for text in ["http://u:hunter2@db/x", "postgres:u:hunter2", "u:hunter2@db", ""] {
            let error = SecretUrl::database(text).unwrap_err();
            assert!(!error.contains("hunter2") && error.contains("postgres://"), "{error}");
        }
    }

    #[test]
    fn a_virtual_host_and_a_socket_directory_survive() {
        let amqp = SecretUrl::amqp("amqp://guest:guest@localhost/%2f").unwrap();
        assert_eq!(amqp.to_string(), "amqp://guest:***@localhost/%2f");
        assert!(SecretUrl::database("postgres:///db?host=/run/postgresql").is_ok());
    }
}
