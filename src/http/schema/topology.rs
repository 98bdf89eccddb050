//! What a broker holds, and how this differs from what it should hold.

use serde::Serialize;
use std::collections::BTreeMap;
use time::OffsetDateTime;
use utoipa::ToSchema;

/// State of the topology.
#[derive(ToSchema)]
#[schema(as = TopologyState, rename_all = "lowercase")]
pub enum TopologyStateSchema {
    /// The broker was seen to hold what the roster asks for.
    Converged,
    /// A requested change has not reached the broker yet.
    Pending,
    /// The broker was seen to differ from what the roster asks for.
    Drifted,
    /// hearken changes nothing on the broker until an administrator decides: so much is gone or
    /// unknown, or the marker is gone, or the broker belongs to another cluster or a newer layout.
    Blocked,
    /// The broker could not be read.
    Unknown,
}

/// Failure of the recent passes.
#[derive(ToSchema)]
#[schema(as = Failure)]
pub struct PassFailureSchema {
    /// When passes began to fail.
    pub since: OffsetDateTime,
    /// Error message of the broker or of the database.
    pub cause: String,
}

/// How an object on the broker differs from the desired topology.
#[derive(ToSchema)]
#[schema(as = DriftKind, rename_all = "lowercase")]
pub enum DriftKindSchema {
    /// Desired, but not on the broker.
    Missing,
    /// On the broker and hearken's own, but not desired.
    Surplus,
    /// On the broker and hearken's own, but with other properties than desired.
    Divergent,
    /// On the broker under hearken's name prefix, but not hearken's own. hearken never changes it.
    Foreign,
    /// Queue on the broker that is hearken's own and that the log does not know: the database may
    /// be older than the broker. The queue stays bound, and no pass unbinds or deletes anything.
    Orphan,
}

/// Kind of a broker object.
#[derive(ToSchema)]
#[schema(as = ObjectKind, rename_all = "lowercase")]
pub enum ObjectKindSchema {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
    /// A binding.
    Binding,
}

/// What removes a difference.
#[derive(ToSchema)]
#[schema(as = Remedy, rename_all = "lowercase")]
pub enum RemedySchema {
    /// hearken declares the object by itself.
    Declare,
    /// hearken adds the binding by itself.
    Bind,
    /// hearken removes the binding by itself.
    Unbind,
    /// hearken deletes the queue, as the removal of its listener asked.
    Delete,
    /// A new generation of the queue, on request.
    Migrate,
    /// An administrator decides.
    Report,
}

/// Purpose of a queue.
#[derive(ToSchema)]
#[schema(as = QueueKind, rename_all = "lowercase")]
pub enum QueueKindSchema {
    /// Work queue of a listener.
    Work,
    /// Queue of a removed listener whose events are kept.
    Kept,
    /// Queue that is deleted by itself: of a listener that was removed with `drain` or `discard`,
    /// or a released orphan.
    Draining,
    /// Queue with the marker of this cluster that the log does not know.
    Orphan,
    /// Queue in which failed events wait for their next attempt.
    Wait,
    /// Queue of messages that no listener can take.
    Parked,
}

/// What ends the state of a queue.
#[derive(ToSchema)]
#[schema(as = QueueRemedy, rename_all = "kebab-case")]
pub enum QueueRemedySchema {
    /// hearken does what is left to do.
    Wait,
    /// Add the group again; its listener consumes the queue.
    AddGroup,
    /// Remove the listener of the group and add it again; the new listener consumes the queue.
    ReplaceListener,
    /// Add the bus again.
    AddBus,
    /// Replace the queue by its next generation.
    Migrate,
    /// Delete the queue.
    Delete,
}

/// One difference between the desired and the observed topology.
#[derive(ToSchema)]
#[schema(as = Drift)]
pub struct DriftSchema {
    /// How the object differs.
    pub kind: DriftKindSchema,
    /// Kind of the object.
    pub object: ObjectKindSchema,
    /// Name of the object; of a binding, `source -> destination [key]`.
    pub name: String,
    /// Object that should be on the broker.
    #[schema(nullable = false)]
    pub expected: Option<DriftObjectSchema>,
    /// Object that is on the broker.
    #[schema(nullable = false)]
    pub found: Option<DriftObjectSchema>,
    /// When the difference was first seen.
    pub since: OffsetDateTime,
    /// What removes the difference.
    pub remedy: RemedySchema,
    /// Whether the difference is a change that the roster asks for and that is not made yet.
    /// Otherwise the object was lost, or changed by hand.
    pub unfinished: bool,
    /// Words of the broker, which refused the repair; absent if it did not. hearken tries again
    /// after growing pauses.
    #[schema(nullable = false)]
    pub refusal: Option<String>,
}

/// An exchange, a queue or a binding.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = DriftObject)]
pub enum DriftObjectSchema {
    /// An exchange.
    Exchange(ExchangeSchema),
    /// A queue.
    Queue(QueueSchema),
    /// A binding.
    Binding(BindingSchema),
}

/// Value of an AMQP argument.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = Argument)]
pub enum ArgumentSchema {
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A text, or any other value as its JSON text.
    Text(String),
}

/// Exchange of the broker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Exchange)]
pub struct ExchangeSchema {
    /// Name of the exchange.
    pub name: String,
    /// Type of the exchange: how it routes messages.
    #[schema(example = "direct")]
    pub kind: String,
    /// Whether the exchange survives a restart of the broker.
    pub durable: bool,
    /// Whether the broker deletes the exchange with its last binding.
    pub auto_delete: bool,
    /// Whether clients are kept from publishing to the exchange.
    pub internal: bool,
    /// AMQP arguments of the exchange.
    pub arguments: BTreeMap<String, ArgumentSchema>,
}

/// Queue of the broker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Queue)]
pub struct QueueSchema {
    /// Name of the queue.
    pub name: String,
    /// Whether the queue survives a restart of the broker.
    pub durable: bool,
    /// Whether the queue belongs to one connection.
    pub exclusive: bool,
    /// Whether the broker deletes the queue with its last consumer.
    pub auto_delete: bool,
    /// AMQP arguments of the queue.
    pub arguments: BTreeMap<String, ArgumentSchema>,
    /// Policy on the queue that changes which events it keeps.
    #[schema(nullable = false)]
    pub policy: Option<PolicySchema>,
}

/// Policy that an operator of the broker put on a queue.
#[derive(Serialize, ToSchema)]
#[schema(as = Policy)]
pub struct PolicySchema {
    /// Name of the policy.
    pub name: String,
    /// Keys of the policy that decide which events the queue keeps, and for how long.
    pub keys: Vec<String>,
}

/// Binding of the broker.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Binding)]
pub struct BindingSchema {
    /// Exchange that messages come from.
    pub source: String,
    /// Whether messages go to a queue or to an exchange.
    pub destination_kind: DestinationSchema,
    /// Name of the queue or exchange that messages go to.
    pub destination: String,
    /// Routing key of the binding.
    pub routing_key: String,
    /// AMQP arguments of the binding.
    pub arguments: BTreeMap<String, ArgumentSchema>,
}

/// Kind of a binding's destination.
#[derive(Serialize, ToSchema)]
#[schema(as = Destination, rename_all = "lowercase")]
pub enum DestinationSchema {
    /// A queue.
    Queue,
    /// Another exchange.
    Exchange,
}
