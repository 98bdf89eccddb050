//! Exchanges, queues and bindings, as values that can be compared.

use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Value of an AMQP argument. Integers have no width: two integer arguments are equal when their
/// numbers are equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Argument {
    /// A boolean.
    Bool(bool),
    /// An integer of any width.
    Int(i64),
    /// A text.
    Text(String),
    /// Any other value, kept as its JSON text so that it can be shown.
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

/// Rule by which an exchange routes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ExchangeKind {
    /// Routes to the queues that are bound with exactly the routing key.
    Direct,
    /// Routes to every bound queue.
    Fanout,
    /// A kind that hearken does not declare.
    #[serde(untagged)]
    Other(String),
}

/// An exchange.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// Name of the exchange.
    pub name: String,
    /// Rule by which the exchange routes.
    pub kind: ExchangeKind,
    /// Whether the exchange survives a restart of the broker.
    pub durable: bool,
    /// Whether the exchange is deleted with its last binding.
    pub auto_delete: bool,
    /// Whether clients are not allowed to publish to the exchange.
    pub internal: bool,
    /// Arguments of the exchange.
    pub arguments: Arguments,
}

/// A queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Queue {
    /// Name of the queue.
    pub name: String,
    /// Whether the queue survives a restart of the broker.
    pub durable: bool,
    /// Whether the queue belongs to one connection.
    pub exclusive: bool,
    /// Whether the queue is deleted with its last consumer.
    pub auto_delete: bool,
    /// Arguments of the queue.
    pub arguments: Arguments,
    /// Policy that RabbitMQ applies to the queue, if it changes which events are kept. A desired
    /// queue has no policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<AppliedPolicy>,
}

/// Policy that an operator of RabbitMQ applied to a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppliedPolicy {
    /// Name of the policy.
    pub name: String,
    /// Keys of the policy that decide which events are kept, and for how long.
    pub keys: Vec<String>,
}

/// Kind of the object that a binding leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Destination {
    /// A queue.
    Queue,
    /// Another exchange.
    Exchange,
}

/// A binding. All fields together identify it: the same routing key with other arguments is
/// another binding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Binding {
    /// Name of the exchange that the binding starts from.
    pub source: String,
    /// Kind of the object that the binding leads to.
    pub destination_kind: Destination,
    /// Name of the object that the binding leads to.
    pub destination: String,
    /// Routing key of the binding.
    pub routing_key: String,
    /// Arguments of the binding.
    pub arguments: Arguments,
}

impl Binding {
    /// Binding of a queue, without arguments.
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

    /// Number of objects.
    #[must_use]
    pub fn len(&self) -> usize {
        self.exchanges.len() + self.queues.len() + self.bindings.len()
    }

    /// Whether there are no objects.
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
