//! What a broker holds, and how that differs from what it should.

use serde::Serialize;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// How the topology is, in a word.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum TopologyState {
    /// The broker was seen to hold what the roster asks for.
    Converged,
    /// Work that somebody asked for is not done.
    Pending,
    /// The broker was seen to differ.
    Drifted,
    /// So much is gone that nothing is repaired before an administrator says so.
    Blocked,
    /// The broker could not be read.
    Unknown,
}

/// Why passes fail, and since when.
#[derive(ToSchema)]
pub struct Failure {
    /// Since when.
    pub since: OffsetDateTime,
    /// The broker's or the database's own words.
    pub cause: String,
}

/// How desired and observed disagree.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum DriftKind {
    /// Desired and not there.
    Missing,
    /// There, ours, and not desired.
    Surplus,
    /// There, ours, and not as desired.
    Divergent,
    /// There under our prefix and not ours. Never touched.
    Foreign,
}

/// A kind of object.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum ObjectKind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
    /// A binding.
    Binding,
}

/// What mends a drift.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Remedy {
    /// Declare it. Done without asking.
    Declare,
    /// Bind it. Done without asking.
    Bind,
    /// Unbind it. Done without asking.
    Unbind,
    /// Delete the queue, as its listener's removal asked.
    Delete,
    /// A new generation of the queue. Done on request.
    Migrate,
    /// An administrator decides.
    Report,
}

/// One disagreement between the desired and the observed topology.
#[derive(ToSchema)]
pub struct Drift {
    /// How they disagree.
    pub kind: DriftKind,
    /// The kind of object.
    pub object: ObjectKind,
    /// Its name; a binding's is `source -> destination [key]`.
    pub name: String,
    /// What should be there.
    #[schema(nullable = false)]
    pub expected: Option<DriftObject>,
    /// What is there.
    #[schema(nullable = false)]
    pub found: Option<DriftObject>,
    /// When it was first seen.
    pub since: OffsetDateTime,
    /// What mends it.
    pub remedy: Remedy,
}

/// An exchange, a queue or a binding.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum DriftObject {
    /// An exchange.
    Exchange(Exchange),
    /// A queue.
    Queue(Queue),
    /// A binding.
    Binding(Binding),
}

/// The value of an AMQP argument.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Argument {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A text, or anything else as its JSON text.
    Text(String),
}

/// An exchange.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    #[schema(example = "direct")]
    pub kind: String,
    /// Whether it outlives the broker.
    pub durable: bool,
    /// Whether it goes with its last binding.
    pub auto_delete: bool,
    /// Whether clients cannot publish to it.
    pub internal: bool,
    /// Its arguments.
    pub arguments: BTreeMap<String, Argument>,
}

/// A queue.
#[derive(Serialize, ToSchema)]
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
    pub arguments: BTreeMap<String, Argument>,
    /// A policy over it that changes how events are kept.
    #[schema(nullable = false)]
    pub policy: Option<Policy>,
}

/// A policy somebody put over a queue.
#[derive(Serialize, ToSchema)]
pub struct Policy {
    /// Its name.
    pub name: String,
    /// Its keys that decide which events are kept, and for how long.
    pub keys: Vec<String>,
}

/// A binding.
#[derive(Serialize, ToSchema)]
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
    pub arguments: BTreeMap<String, Argument>,
}

/// What a binding leads to.
#[derive(Serialize, ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum Destination {
    /// A queue.
    Queue,
    /// Another exchange.
    Exchange,
}
