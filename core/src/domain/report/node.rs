//! State of a node and its listeners.

use crate::domain::{
    event::Version,
    name::{ClassName, GroupName},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// State of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// The node has not finished starting.
    Starting,
    /// The node runs every listener of the roster.
    Ready,
    /// The node cannot run some listeners. Its listeners' states name them.
    Degraded,
    /// The node stops.
    Stopping,
    /// The node has sent no heartbeat for a while.
    Gone,
}

/// State of a listener on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerState {
    /// The listener consumes events.
    Running,
    /// The listener does not consume yet; the cause says what it waits for.
    Starting,
    /// The node does not know the listener's class.
    UnknownClass,
    /// The class could not make the listener.
    Failed,
    /// The listener consumes events with earlier settings, because the class could not make it with
    /// its present settings. The cause says why.
    Outdated,
    /// The listener is paused, so no node consumes for it.
    Paused,
}

impl ListenerState {
    /// Whether the listener consumes events on the node.
    #[must_use]
    pub fn consumes(self) -> bool {
        matches!(self, Self::Running | Self::Outdated)
    }

    /// Whether the node cannot run the listener as the roster asks.
    #[must_use]
    pub fn is_impaired(self) -> bool {
        matches!(self, Self::UnknownClass | Self::Failed | Self::Outdated)
    }
}

/// A listener on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Group of the listener.
    pub group: GroupName,
    /// Class of the listener.
    pub class: ClassName,
    /// State of the listener.
    pub state: ListenerState,
    /// Cause that keeps the listener from running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Time at which the listener entered its state.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Configured id of the node.
    pub id: String,
    /// Host that the node runs on.
    pub host: String,
    /// Version of hearken on the node.
    pub version: String,
    /// State of the node.
    pub state: NodeState,
    /// Start of the node, by the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// Last heartbeat of the node, by the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: OffsetDateTime,
    /// Version of the roster that the node works by.
    pub roster_version: Version,
    /// Listeners of the node.
    pub listeners: Vec<ListenerStatus>,
    /// Settings for which the node's own configuration has another value than the cluster. The node
    /// runs with the value of the cluster.
    pub differing_settings: Vec<String>,
}
