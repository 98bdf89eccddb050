//! The broker's address as operators write it.

use lapin::uri::{AMQPScheme, AMQPUri};
use std::fmt;
use url::{Host, Url};

/// An address of the broker that cannot be used. Never contains the address itself, which may hold
/// a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{setting} cannot be used: {problem}")]
pub struct AmqpUrlError {
    /// The flag.
    pub setting: &'static str,
    /// What is wrong with the address, and how to write it.
    pub problem: String,
}

/// An AMQP URL with its credentials. `Debug` shows only host and port.
#[derive(Clone)]
pub struct AmqpUrl {
    uri: AMQPUri,
    address: String,
}

impl AmqpUrl {
    /// Reads `amqp://user:password@host:port/virtual-host`, or `amqps://` for TLS. A part that is
    /// absent has RabbitMQ's default: `guest`, 5672 or 5671, and the virtual host `/`.
    ///
    /// # Errors
    /// What is wrong with the address, without repeating it.
    pub fn parse(text: &str) -> Result<Self, AmqpUrlError> {
        let wrong = |problem: String| AmqpUrlError { setting: "--amqp-url", problem };
        let form = "write amqp://user:password@host:5672/virtual-host";
        let url = Url::parse(text).map_err(|e| wrong(format!("it is not a URL ({e}); {form}")))?;
        if !matches!(url.scheme(), "amqp" | "amqps") || url.cannot_be_a_base() {
            return Err(wrong(format!("it is not an AMQP address; {form}, or amqps:// for TLS")));
        }
        let host = match url.host() {
            // For a scheme that browsers do not know, the parser keeps an IPv4 address as a name.
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(wrong(format!("it names no host; {form}"))),
        };
        if url.path().get(1..).is_some_and(|path| path.contains('/')) {
            let problem = "the virtual host has a slash; write it as %2F".to_owned();
            return Err(wrong(problem));
        }
        let mut uri: AMQPUri =
            text.parse().map_err(|_| wrong(format!("a part of it cannot be decoded; {form}")))?;
        if uri.vhost.is_empty() {
            uri.vhost.push('/');
        }
        // With the broker's default of 60 s, a node would notice a dead connection only after two
        // minutes.
        uri.query.heartbeat.get_or_insert(20);
        let address = format!("{host}:{}", uri.authority.port);
        uri.authority.host = host;
        Ok(Self { uri, address })
    }

    /// Host and port.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The virtual host.
    #[must_use]
    pub fn virtual_host(&self) -> &str {
        &self.uri.vhost
    }

    /// The user.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.uri.authority.userinfo.username
    }

    pub(crate) fn password(&self) -> &str {
        &self.uri.authority.userinfo.password
    }

    pub(super) fn uri(&self, frame_max: u32) -> AMQPUri {
        let mut uri = self.uri.clone();
        uri.query.frame_max.get_or_insert(frame_max);
        uri
    }

    /// Default address of the same broker's management API: port 15672, or port 15671 with TLS when
    /// AMQP uses TLS, because the same password travels.
    pub(crate) fn management(&self) -> String {
        let (scheme, port) = match self.uri.scheme {
            AMQPScheme::AMQP => ("http", 15672),
            AMQPScheme::AMQPS => ("https", 15671),
        };
        let host = &self.uri.authority.host;
        if host.contains(':') {
            return format!("{scheme}://[{host}]:{port}");
        }
        format!("{scheme}://{host}:{port}")
    }
}

impl fmt::Debug for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpUrl").field("address", &self.address).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_part_has_rabbitmqs_default() {
        for text in ["amqp://broker", "amqp://broker/", "amqp://guest:guest@broker:5672/%2f"] {
            let url = AmqpUrl::parse(text).unwrap();
            assert_eq!((url.address(), url.virtual_host()), ("broker:5672", "/"), "{text}");
            assert_eq!((url.user(), url.password()), ("guest", "guest"), "{text}");
        }
        assert_eq!(AmqpUrl::parse("amqps://b/x").unwrap().address(), "b:5671");
    }

    #[test]
    fn an_ip_address_is_kept() {
        let six = AmqpUrl::parse("amqp://[::1]:5/x").unwrap();
        assert_eq!((six.address(), six.management().as_str()), ("::1:5", "http://[::1]:15672"));
        assert_eq!(AmqpUrl::parse("amqp://10.0.0.7/x").unwrap().address(), "10.0.0.7:5672");
    }

    #[test]
    fn management_is_on_the_same_host_and_uses_tls_when_amqp_does() {
        assert_eq!(AmqpUrl::parse("amqp://b:7/x").unwrap().management(), "http://b:15672");
        assert_eq!(AmqpUrl::parse("amqps://b/x").unwrap().management(), "https://b:15671");
    }

    #[test]
    fn a_problem_is_named_without_the_password() {
        for (text, problem) in [
            ("broker:5672", "not an AMQP address"),
            ("", "not a URL"),
            ("http://u:secret@broker/x", "not an AMQP address"),
            ("amqp:///x", "names no host"),
            ("amqp://u:secret@broker/a/b", "%2F"),
            ("amqp://u:secret@broker/x?heartbeat=often", "cannot be decoded"),
            ("amqp://u:secret@broker:port/x", "not a URL"),
        ] {
            let error = AmqpUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
            assert!(error.contains("--amqp-url") && !error.contains("secret"), "{error}");
        }
        let shown = format!("{:?}", AmqpUrl::parse("amqp://u:secret@broker/x").unwrap());
        assert!(!shown.contains("secret"), "{shown}");
    }
}
