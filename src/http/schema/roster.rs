//! Listeners, and the nodes that run them.

use serde_json::{Map, Value};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// How often an event runs in the cluster: once through a work queue, or once on every node.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum Delivery {
    /// One execution in the cluster, at least once.
    Once,
    /// One execution on each node that is up, at most once.
    EveryNode,
}

/// Whether dispatching waits for the listener when it runs in the same process.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum Mode {
    /// Dispatch waits.
    Sync,
    /// Dispatch does not wait.
    Async,
}

/// What becomes of the events that wait for a removed listener.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum Pending {
    /// The queue is unbound and kept; adding the group again consumes it.
    Keep,
    /// The queue is unbound, consumed until it is empty, then deleted.
    Drain,
    /// The queue is unbound and deleted with its content.
    Discard,
}

/// When a failed event is tried again: after `first`, then twice as long each time, never above
/// `max`.
#[derive(ToSchema)]
pub struct Retry {
    /// Retries after the first execution.
    #[schema(maximum = 100)]
    pub attempts: u32,
    /// The pause before the first retry.
    #[schema(example = "100ms")]
    pub first: String,
    /// The longest pause, before the jitter.
    #[schema(example = "10s")]
    pub max: String,
    /// The share of a pause that may be added to it at random.
    #[schema(minimum = 0, maximum = 1, example = 0.5)]
    pub jitter: f64,
}

/// A listener as it was asked for.
#[derive(ToSchema)]
pub struct Settings {
    /// Its identity in the roster.
    pub group: String,
    /// What nodes instantiate it from.
    pub class: String,
    /// The bus it listens to.
    pub bus: String,
    /// Once in the cluster, or on every node.
    pub delivery: Delivery,
    /// Whether a local dispatch waits for it.
    pub mode: Mode,
    /// Executions at the same time on one node.
    pub concurrency: u16,
    /// How long one execution may take.
    #[schema(example = "10m")]
    pub timeout: String,
    /// When a failed event is tried again.
    pub retry: Retry,
    /// What the class is told.
    pub configuration: Map<String, Value>,
}

/// A node, as it signs what it does.
#[derive(ToSchema)]
pub struct NodeRef {
    /// Its configured id.
    pub id: String,
    /// The host it runs on.
    pub host: String,
}

/// How a node is.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum NodeState {
    /// It has not finished starting.
    Starting,
    /// It runs every listener of the roster.
    Ready,
    /// It runs all but some, which it names.
    Degraded,
    /// It is on its way out.
    Stopping,
    /// It has not been heard of for a while.
    Gone,
}

/// How a listener is on a node.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum ListenerState {
    /// It consumes.
    Running,
    /// It is about to; the cause says what it waits for.
    Starting,
    /// The node does not know its class.
    UnknownClass,
    /// Its class could not make it.
    Failed,
}

/// A listener on a node.
#[derive(ToSchema)]
pub struct ListenerStatus {
    /// Its group.
    pub group: String,
    /// Its class.
    pub class: String,
    /// How it is.
    pub state: ListenerState,
    /// Why it is not running.
    #[schema(nullable = false)]
    pub cause: Option<String>,
    /// Since when it is in that state.
    pub since: OffsetDateTime,
}

/// A node of the cluster.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Node {
    /// Its configured id.
    pub id: String,
    /// The host it runs on.
    pub host: String,
    /// The version of hearken it runs.
    pub version: String,
    /// How it is.
    pub state: NodeState,
    /// When it started.
    pub started_at: OffsetDateTime,
    /// When it was last heard of.
    pub last_seen: OffsetDateTime,
    /// The version of the roster it works by.
    pub roster_version: u64,
    /// Its listeners.
    pub listeners: Vec<ListenerStatus>,
}

/// Where a class comes from.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum ClassSource {
    /// hearken brings it.
    BuiltIn,
    /// Compiled in by a program that uses the library.
    Library,
}
