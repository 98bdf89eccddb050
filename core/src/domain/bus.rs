//! A bus as the cluster has it.

use super::name::BusName;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The form in which a bus's events are written. Reading goes by content type, whatever this is.
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

/// A bus as configuration files define it. The first node that names one defines it for all.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BusDefinition {
    /// Its name.
    pub name: BusName,
    /// How events are written.
    #[serde(default, skip_serializing_if = "is_default")]
    pub codec: Codec,
    /// Whether its exchange is somebody else's: bound to, and never declared, changed or deleted.
    #[serde(default, skip_serializing_if = "is_default")]
    pub attached: bool,
    /// The exchange of an attached bus.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exchange: Option<String>,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The cluster's buses, by name.
pub type Buses = BTreeMap<BusName, BusDefinition>;

/// A definition that contradicts itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BusError {
    /// Nobody knows what to bind to.
    #[error("bus {0} is attached and names no exchange; give exchange = \"…\"")]
    NoExchange(BusName),
    /// A bus of our own has the exchange that the layout gives it.
    #[error("bus {0} names an exchange and is not attached; only an attached bus has one")]
    NotAttached(BusName),
    /// AMQP cannot carry the name.
    #[error("the exchange of bus {0} has {1} bytes; it has 1 to 255, without control characters")]
    ExchangeName(BusName, usize),
    /// Its address would be that of something else.
    #[error("bus {0} cannot be called so: /events/{0} is the address of the dead letters")]
    Reserved(BusName),
}

impl BusDefinition {
    /// A bus of our own with the default codec.
    #[must_use]
    pub fn plain(name: BusName) -> Self {
        Self { name, codec: Codec::default(), attached: false, exchange: None }
    }

    /// Checks what no type holds.
    ///
    /// # Errors
    /// The contradiction, and what would be right.
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
