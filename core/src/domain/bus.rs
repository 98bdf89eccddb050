//! Definition of a bus.

use super::name::BusName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form in which the events of a bus are written. Events are read by their content type,
/// independent of this setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// CloudEvents in structured JSON.
    #[default]
    Json,
    /// CloudEvents in `MessagePack`.
    MsgPack,
    /// James's JSON, as James itself writes it.
    James,
}

/// A bus, as a command or a configuration file defines it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusDefinition {
    /// Name of the bus.
    pub name: BusName,
    /// The form in which its events are written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub codec: Codec,
    /// Whether its exchange belongs to another program. Queues are bound to such an exchange;
    /// hearken never declares, changes or deletes it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attached: bool,
    /// Name of the exchange of an attached bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Buses that a cluster has from its start, without an event in the log: those of James.
pub const DEFAULT_BUSES: [&str; 2] = ["mailboxEvent", "jmapEvent"];

/// The cluster's buses, by name.
pub type Buses = BTreeMap<BusName, BusDefinition>;

/// Reason why a definition of a bus is not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// The bus is attached, and its definition does not name the exchange.
    #[error("bus {0} is attached and names no exchange; give exchange = \"…\"")]
    NoExchange(BusName),
    /// The bus is not attached, so hearken names its exchange itself.
    #[error("bus {0} names an exchange and is not attached; only an attached bus has one")]
    NotAttached(BusName),
    /// AMQP cannot carry the name of the exchange.
    #[error("the exchange of bus {0} has {1} bytes; it has 1 to 255, without control characters")]
    ExchangeName(BusName, usize),
    /// The REST address of the bus would be the address of the dead letters.
    #[error("bus {0} cannot have this name: /events/{0} is the address of the dead letters")]
    Reserved(BusName),
    /// The bus is attached, and this node runs without RabbitMQ.
    #[error("bus {0} is attached to an exchange, which needs RabbitMQ; this node runs embedded")]
    NeedsRabbitMq(BusName),
    /// The exchange of an attached bus has the prefix of our own objects.
    #[error(
        "bus {0} is attached to {1}, which has the prefix of hearken's own objects; attach it to an exchange of another program"
    )]
    OwnExchange(BusName, String),
}

impl BusDefinition {
    /// A bus with an exchange of our own and the default codec.
    #[must_use]
    pub fn plain(name: BusName) -> Self {
        Self { name, codec: Codec::default(), attached: false, exchange: None }
    }

    /// Whether this is a bus that a cluster has from its start, as a cluster has it then.
    #[must_use]
    pub fn is_default(&self) -> bool {
        DEFAULT_BUSES.contains(&self.name.as_str()) && *self == Self::plain(self.name.clone())
    }

    /// Checks the rules that the types of the fields do not hold.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn check(&self) -> Result<(), BusError> {
        let name = || self.name.clone();
        if self.name.as_str() == "deadLetter" {
            return Err(BusError::Reserved(name()));
        }
        match (&self.exchange, self.attached) {
            (None, true) => Err(BusError::NoExchange(name())),
            (Some(_), false) => Err(BusError::NotAttached(name())),
            (Some(exchange), true)
                if !(1..=255).contains(&exchange.len())
                    || exchange.chars().any(char::is_control) =>
            {
                Err(BusError::ExchangeName(name(), exchange.len()))
            }
            _ => Ok(()),
        }
    }

    /// The foreign exchange of an attached bus.
    #[must_use]
    pub fn foreign_exchange(&self) -> Option<&str> {
        self.exchange.as_deref().filter(|_| self.attached)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defined(text: &str) -> BusDefinition {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_bus_is_attached_and_names_its_exchange_or_neither() {
        let name = BusName::parse("m").unwrap();
        assert_eq!(defined(r#"{"name":"m"}"#).check(), Ok(()));
        let attached = defined(r#"{"name":"m","attached":true,"codec":"james","exchange":"e"}"#);
        assert_eq!((attached.check(), attached.foreign_exchange()), (Ok(()), Some("e")));
        let bare = defined(r#"{"name":"m","attached":true}"#);
        assert_eq!(bare.check(), Err(BusError::NoExchange(name.clone())));
        let own = defined(r#"{"name":"m","exchange":"e"}"#);
        assert_eq!(own.check(), Err(BusError::NotAttached(name.clone())));
        let mut long = attached;
        long.exchange = Some("e".repeat(256));
        assert_eq!(long.check(), Err(BusError::ExchangeName(name, 256)));
    }

    #[test]
    fn a_bus_cannot_have_the_address_of_the_dead_letters() {
        let name = BusName::parse("deadLetter").unwrap();
        assert_eq!(BusDefinition::plain(name.clone()).check(), Err(BusError::Reserved(name)));
    }

    #[test]
    fn a_plain_bus_is_stored_as_it_always_was() {
        let stored = serde_json::to_string(&defined(r#"{"name":"m"}"#)).unwrap();
        assert_eq!(stored, r#"{"name":"m"}"#);
    }
}
