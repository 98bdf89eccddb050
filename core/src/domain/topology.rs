//! Exchanges, queues and bindings, as values that can be compared.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// The value of an AMQP argument, as far as topology uses them. Integer widths are AMQP's
/// business: two arguments are equal when their numbers are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// A boolean.
    Bool(bool),
    /// An integer of any width.
    Int(i64),
    /// A text.
    Text(String),
    /// Anything else, kept as its JSON text so that it can be shown.
    Other(String),
}

impl From<&str> for Argument {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Argument {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Argument {
    fn from(number: i64) -> Self {
        Self::Int(number)
    }
}

/// Named AMQP arguments.
pub type Arguments = BTreeMap<String, Argument>;

/// How an exchange routes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// To the queues bound with exactly the routing key.
    Direct,
    /// To every bound queue.
    Fanout,
    /// Any kind that hearken does not declare.
    #[serde(untagged)]
    Other(String),
}

/// An exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeKind,
    /// Whether it outlives the broker.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients cannot publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: Arguments,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Its name.
    pub name: String,
    /// Whether it outlives the broker.
    pub durable: bool,
    /// Whether it belongs to one connection.
    pub exclusive: bool,
    /// Whether it goes with its last consumer.
    pub auto_delete: bool,
    /// Its arguments.
    pub arguments: Arguments,
    /// The policy that RabbitMQ applies to it, with what of it changes how events are kept.
    /// Never part of what is desired.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<AppliedPolicy>,
}

/// A policy somebody put over a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedPolicy {
    /// Its name.
    pub name: String,
    /// Its keys that decide which events are kept, and for how long.
    pub keys: Vec<String>,
}

/// What a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// A queue.
    Queue,
    /// Another exchange.
    Exchange,
}

/// A binding. All of it is its identity: the same key with other arguments is another binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// The exchange it starts from.
    pub source: String,
    /// Whether it leads to a queue or an exchange.
    pub destination_kind: Destination,
    /// What it leads to.
    pub destination: String,
    /// Its routing key.
    pub routing_key: String,
    /// Its arguments.
    pub arguments: Arguments,
}

impl Binding {
    /// A binding of a queue, without arguments.
    #[must_use]
    pub fn of_queue(source: &str, queue: &str, routing_key: &str) -> Self {
        Self {
            source: source.to_owned(),
            destination_kind: Destination::Queue,
            destination: queue.to_owned(),
            routing_key: routing_key.to_owned(),
            arguments: Arguments::new(),
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {} [{}]", self.source, self.destination, self.routing_key)
    }
}

/// A set of exchanges, queues and bindings.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Topology {
    /// Exchanges by name.
    pub exchanges: BTreeMap<String, Exchange>,
    /// Queues by name.
    pub queues: BTreeMap<String, Queue>,
    /// Bindings.
    pub bindings: BTreeSet<Binding>,
}

impl Topology {
    /// Adds an exchange.
    pub fn add_exchange(&mut self, exchange: Exchange) {
        self.exchanges.insert(exchange.name.clone(), exchange);
    }

    /// Adds a queue.
    pub fn add_queue(&mut self, queue: Queue) {
        self.queues.insert(queue.name.clone(), queue);
    }

    /// How many objects it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exchanges.len() + self.queues.len() + self.bindings.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exchange_of_a_foreign_kind_is_read_as_it_is() {
        let kind: ExchangeKind = serde_json::from_str("\"x-delayed-message\"").unwrap();
        assert_eq!(kind, ExchangeKind::Other("x-delayed-message".into()));
        assert_eq!(serde_json::to_string(&ExchangeKind::Direct).unwrap(), "\"direct\"");
    }
}
