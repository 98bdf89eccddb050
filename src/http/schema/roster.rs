//! Listeners, and the nodes that run them.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// How many nodes execute an event: one of the cluster, or every node.
#[derive(ToSchema)]
#[schema(as = Delivery, rename_all = "kebab-case")]
pub enum DeliverySchema {
    /// One node of the cluster executes the event, at least once.
    Once,
    /// Every node that is up executes the event, at most once.
    EveryNode,
}

/// Whether a dispatch waits for the listener when both run in the same process.
#[derive(ToSchema)]
#[schema(as = Mode, rename_all = "kebab-case")]
pub enum ModeSchema {
    /// The dispatch waits for the listener.
    Sync,
    /// The dispatch does not wait.
    Async,
}

/// Form in which the events of a bus are written.
#[derive(ToSchema)]
#[schema(as = Codec, rename_all = "lowercase")]
pub enum CodecSchema {
    /// `CloudEvents` in structured JSON.
    Json,
    /// `CloudEvents` in `MessagePack`.
    MsgPack,
    /// James's JSON, as James itself writes it.
    James,
}

/// Definition of a bus.
#[derive(ToSchema)]
#[schema(as = BusDefinition)]
pub struct BusDefinitionSchema {
    /// Name of the bus.
    pub name: String,
    /// Form in which its events are written; `json` if absent.
    #[schema(value_type = Option<CodecSchema>, nullable = false)]
    pub codec: Option<String>,
    /// Whether its exchange belongs to another program; `false` if absent.
    #[schema(nullable = false)]
    pub attached: Option<bool>,
    /// Name of the exchange of an attached bus.
    #[schema(nullable = false)]
    pub exchange: Option<String>,
}

/// What happens to the events that wait for a removed listener.
#[derive(ToSchema)]
#[schema(as = Pending, rename_all = "kebab-case")]
pub enum PendingSchema {
    /// The queue is unbound and kept. A listener that is added for the same group consumes it.
    Keep,
    /// The queue is unbound, consumed until it is empty, then deleted.
    Drain,
    /// The queue is unbound and deleted with its events.
    Discard,
}

/// When a failed event is tried again: after `first`, then after twice as long each time, up to
/// `max`.
#[derive(ToSchema)]
#[schema(as = Retry)]
pub struct RetrySchema {
    /// Number of retries after the first execution.
    #[schema(maximum = 100)]
    pub attempts: u32,
    /// Pause before the first retry.
    #[schema(example = "100ms")]
    pub first: String,
    /// Longest pause, before jitter is added.
    #[schema(example = "10s")]
    pub max: String,
    /// Largest share of a pause that is added to it at random.
    #[schema(minimum = 0, maximum = 1, example = 0.5)]
    pub jitter: f64,
}

/// Settings of a listener.
#[derive(ToSchema)]
#[schema(as = Settings)]
pub struct ListenerSpecSchema {
    /// Group: the identity of the listener in the roster.
    pub group: String,
    /// Class that nodes instantiate the listener from.
    pub class: String,
    /// Bus whose events the listener receives.
    pub bus: String,
    /// Whether one node or every node executes an event.
    pub delivery: DeliverySchema,
    /// Whether a dispatch in the same process waits for the listener.
    pub mode: ModeSchema,
    /// Largest number of concurrent executions on one node.
    pub concurrency: u16,
    /// Longest time that one execution may take.
    #[schema(example = "10m")]
    pub timeout: String,
    /// When a failed event is tried again.
    pub retry: RetrySchema,
    /// Configuration that is passed to the class.
    pub configuration: Map<String, Value>,
}

/// Node, as the history names it.
#[derive(ToSchema)]
#[schema(as = NodeRef)]
pub struct NodeRefSchema {
    /// Configured id of the node.
    pub id: String,
    /// Host that the node runs on.
    pub host: String,
}

/// State of a node.
#[derive(ToSchema)]
#[schema(as = NodeState, rename_all = "lowercase")]
pub enum NodeStateSchema {
    /// The node has not finished starting.
    Starting,
    /// The node runs every listener of the roster.
    Ready,
    /// The node does not run some listeners; it lists them with their causes.
    Degraded,
    /// The node is shutting down.
    Stopping,
    /// The node has sent no heartbeat for a while.
    Gone,
}

/// State of a listener on a node.
#[derive(ToSchema)]
#[schema(as = ListenerState, rename_all = "kebab-case")]
pub enum ListenerStateSchema {
    /// The listener consumes events.
    Running,
    /// The listener is about to consume; the cause says what it waits for.
    Starting,
    /// The node does not know the listener's class.
    UnknownClass,
    /// The class could not instantiate the listener.
    Failed,
    /// The listener consumes with earlier settings, because the class could not instantiate it with
    /// its present settings; the cause says why.
    Outdated,
    /// The listener is paused.
    Paused,
}

/// Listener on a node.
#[derive(ToSchema)]
#[schema(as = ListenerStatus)]
pub struct ListenerStatusSchema {
    /// Group of the listener.
    pub group: String,
    /// Class of the listener.
    pub class: String,
    /// State of the listener on this node.
    pub state: ListenerStateSchema,
    /// Why the listener does not run.
    #[schema(nullable = false)]
    pub cause: Option<String>,
    /// When the listener entered this state.
    pub since: OffsetDateTime,
}

/// Node of the cluster.
#[derive(ToSchema)]
#[schema(as = Node, rename_all = "camelCase")]
pub struct NodeSchema {
    /// Configured id of the node.
    pub id: String,
    /// Host that the node runs on.
    pub host: String,
    /// Version of hearken that the node runs.
    pub version: String,
    /// State of the node.
    pub state: NodeStateSchema,
    /// When the node started.
    pub started_at: OffsetDateTime,
    /// When the node last sent a heartbeat.
    pub last_seen: OffsetDateTime,
    /// Version of the roster that the node works from.
    pub roster_version: u64,
    /// Listeners on the node.
    pub listeners: Vec<ListenerStatusSchema>,
    /// Settings for which the configuration of the node has another value than the cluster; the
    /// value of the cluster holds.
    pub differing_settings: Vec<String>,
}

/// Type of a condition of a listener.
#[derive(ToSchema)]
#[schema(as = ConditionType)]
pub enum ConditionTypeSchema {
    /// The broker has all objects of the listener, and a node consumes for it.
    Ready,
    /// The broker does not have all objects of the listener yet, and hearken makes them.
    Applying,
    /// The broker does not have all objects of the listener, and hearken cannot make them.
    Blocked,
    /// No node consumes for the listener, because an operator paused it.
    Paused,
    /// An earlier queue of the group waits for its deletion.
    Draining,
    /// The broker has a queue of the group that the log does not know.
    Orphan,
}

/// Whether a condition holds.
#[derive(ToSchema)]
#[schema(as = ConditionStatus, rename_all = "lowercase")]
pub enum ConditionStatusSchema {
    /// The condition holds.
    True,
    /// The condition does not hold. Only `Ready` is shown then.
    False,
    /// The condition cannot be known, because the broker cannot be read.
    Unknown,
}

/// Reason of a condition.
#[derive(ToSchema)]
#[schema(as = ConditionReason, rename_all = "kebab-case")]
pub enum ConditionReasonSchema {
    /// A node consumes for the listener.
    Consuming,
    /// An operator paused the listener.
    Paused,
    /// The objects of the listener are being made.
    Applying,
    /// The objects of the listener cannot be made.
    Blocked,
    /// No node that is up has the listener.
    NoNode,
    /// No node can run the listener.
    Impaired,
    /// The nodes start the listener.
    Starting,
    /// No pass has compared the broker with the present settings yet.
    NotCompared,
    /// Objects of the listener differ, and hearken repairs them by itself.
    Differs,
    /// The broker refused an object of the listener; the message has its words.
    Refused,
    /// An operator must decide about an object of the listener.
    NeedsDecision,
    /// The last pass failed, or repair is stopped for the whole broker.
    PassFailed,
    /// The queue is unbound and is deleted when its events may go.
    DeletionDue,
    /// The log neither configures the queue nor has removed it.
    UnknownToLog,
}

/// What is true of a listener now.
#[derive(ToSchema)]
#[schema(as = Condition)]
pub struct ConditionSchema {
    /// Type of the condition.
    pub r#type: ConditionTypeSchema,
    /// Whether the condition holds.
    pub status: ConditionStatusSchema,
    /// Reason, for programs.
    pub reason: ConditionReasonSchema,
    /// Explanation, for people: names of objects, and the words of the broker.
    pub message: String,
    /// Time since which the condition has this status.
    pub since: OffsetDateTime,
    /// Version of the roster that the condition is about.
    pub version: u64,
}

/// Origin of a class.
#[derive(ToSchema)]
#[schema(as = ClassSource, rename_all = "kebab-case")]
pub enum ClassSourceSchema {
    /// Part of hearken.
    BuiltIn,
    /// Compiled in by a program that uses hearken as a library.
    Library,
}

/// Change of the log's identity.
#[derive(ToSchema)]
#[schema(as = LogAdoption)]
pub struct LogAdoptionSchema {
    /// Identity from then on.
    pub identity: LogIdentitySchema,
    /// Identity until then.
    pub former: LogIdentitySchema,
}

/// Identity of a cluster and of its log.
#[derive(ToSchema)]
#[schema(as = LogIdentity)]
pub struct LogIdentitySchema {
    /// Cluster, as the marker on the broker names it.
    pub cluster: Uuid,
    /// Log, as cursors name it.
    pub log: Uuid,
}
