//! Failures of requests over AMQP, by kind. The only place that knows the protocol's reply codes.

use super::AmqpUrl;
use lapin::{Error, ErrorKind};
use std::io;

/// A request over AMQP that failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AmqpError {
    /// The broker refused the request: reply code 403, 405, 406 or similar. Repeating the request
    /// changes nothing.
    #[error("RabbitMQ refused: {0}")]
    Refused(String),
    /// The named queue or exchange does not exist: reply code 404.
    #[error("RabbitMQ answered: {0}")]
    Missing(String),
    /// User or password is wrong.
    #[error("the AMQP user or password is wrong (user {user:?} at {address}): check --amqp-url")]
    Credentials {
        /// The user of the attempt.
        user: String,
        /// Host and port of the broker.
        address: String,
    },
    /// The virtual host does not exist, or the user may not use it.
    #[error("RabbitMQ does not let us use virtual host {name:?} ({reply}): check --amqp-url")]
    VirtualHost {
        /// The virtual host.
        name: String,
        /// The broker's reply.
        reply: String,
    },
    /// The TLS handshake failed.
    #[error(
        "TLS with RabbitMQ at {address} failed ({cause}): check --amqp-url and the broker's certificate"
    )]
    Tls {
        /// Host and port of the broker.
        address: String,
        /// Why, in the words of the system or of the broker.
        cause: String,
    },
    /// There is no connection, or it was lost. The request may have taken effect.
    #[error("RabbitMQ at {address} is out of reach: {cause}")]
    Unreachable {
        /// Host and port of the broker.
        address: String,
        /// Why, in the words of the system or of the broker.
        cause: String,
    },
    /// The broker did not answer within [`LIMIT`](super::LIMIT). The request may have taken effect.
    #[error("RabbitMQ at {address} did not answer in time")]
    Silent {
        /// Host and port of the broker.
        address: String,
    },
    /// The broker did not accept a published event: one of the event's queues is full or has no
    /// leader. Its other queues may have the event.
    #[error("RabbitMQ at {address} did not take the event: a queue is full or not available")]
    NotTaken {
        /// Host and port of the broker.
        address: String,
    },
}

impl AmqpError {
    /// Whether the same request may succeed later without a change on hearken's side.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Silent { .. } | Self::NotTaken { .. })
    }

    pub(crate) fn silent(address: &str) -> Self {
        Self::Silent { address: address.to_owned() }
    }

    /// The failure of a request on a connection.
    #[expect(clippy::needless_pass_by_value, reason = "called as `map_err(|e| of(e, …))`")]
    pub(crate) fn of(error: Error, address: &str) -> Self {
        if let ErrorKind::ProtocolError(reply) = error.kind() {
            let text = reply.get_message().to_string();
            match reply.get_id() {
                404 => return Self::Missing(text),
                // On a channel: content too large, access refused, resource locked, precondition
                // failed. On the connection: frame error, command invalid, not allowed, not
                // implemented.
                311 | 403 | 405 | 406 | 501..=540 => return Self::Refused(text),
                // 320 (connection forced) and 541 (internal error) are transient.
                _ => {}
            }
        }
        Self::Unreachable { address: address.to_owned(), cause: cause(&error) }
    }

    /// The failure of connecting and logging in.
    pub(super) fn of_login(error: Error, url: &AmqpUrl) -> Self {
        let address = url.address().to_owned();
        match error.kind() {
            ErrorKind::ProtocolError(reply) if reply.get_id() == 403 => {
                Self::Credentials { user: url.user().to_owned(), address }
            }
            ErrorKind::ProtocolError(reply) if reply.get_id() == 530 => Self::VirtualHost {
                name: url.virtual_host().to_owned(),
                reply: reply.get_message().to_string(),
            },
            ErrorKind::IOError(io) if io.kind() == io::ErrorKind::InvalidData => {
                Self::Tls { address, cause: io.to_string() }
            }
            _ => Self::of(error, &address),
        }
    }
}

fn cause(error: &Error) -> String {
    match error.kind() {
        ErrorKind::IOError(io) => io.to_string(),
        ErrorKind::ProtocolError(reply) => reply.get_message().to_string(),
        ErrorKind::InvalidConnectionState(_) | ErrorKind::InvalidChannelState(..) => {
            "the connection was lost".to_owned()
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::protocol::AMQPError;

    fn reply(id: u16, text: &str) -> Error {
        ErrorKind::ProtocolError(AMQPError::from_id(id, text.into()).unwrap()).into()
    }

    #[test]
    fn a_reply_code_decides_between_refused_missing_and_transient() {
        let of = |id| AmqpError::of(reply(id, "NO - because"), "b:1");
        assert!(matches!(of(404), AmqpError::Missing(text) if text == "NO - because"));
        for id in [403, 405, 406, 530, 540] {
            assert!(matches!(of(id), AmqpError::Refused(text) if text == "NO - because"), "{id}");
        }
        for id in [320, 541] {
            assert!(of(id).is_transient(), "{id}");
        }
        assert!(AmqpError::of(ErrorKind::MissingHeartbeatError.into(), "b:1").is_transient());
    }

    #[test]
    fn a_refused_login_says_what_to_check() {
        let url = AmqpUrl::parse("amqp://anna:secret@b/prod").unwrap();
        let error = AmqpError::of_login(reply(403, "ACCESS_REFUSED"), &url).to_string();
        assert!(error.contains("\"anna\"") && error.contains("--amqp-url"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        let error = AmqpError::of_login(reply(530, "vhost prod not found"), &url).to_string();
        assert!(error.contains("\"prod\"") && error.contains("not found"), "{error}");
    }
}
