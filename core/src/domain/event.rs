//! Events of the roster, and the audit that each of them carries.

use super::{
    adoption::LogAdoption, bus::BusDefinition, cluster::ClusterSettings, command::Pending,
    listener::ListenerSpec, name::GroupName, roster::OrphanQueue,
};
use time::OffsetDateTime;
use uuid::Uuid;

/// Number of a group's queue: how often the queue was replaced, from 1. Part of the queue's name.
pub type Generation = u32;

/// Position in the roster's history. The first event has version 1, and no version is left out.
pub type Version = u64;

/// One change in the roster's history.
#[derive(Debug, Clone, PartialEq)]
pub enum RosterEvent {
    /// A listener was configured.
    ListenerAdded {
        /// The whole listener.
        listener: ListenerSpec,
        /// Generation of the queue that the listener consumes.
        generation: Generation,
    },
    /// A listener got new settings. Its queue stays.
    ListenerChanged {
        /// The whole listener, with its new settings.
        listener: ListenerSpec,
    },
    /// A listener was paused: no node consumes for it.
    ListenerPaused {
        /// The listener's group.
        group: GroupName,
    },
    /// The pause of a listener ended.
    ListenerResumed {
        /// The listener's group.
        group: GroupName,
    },
    /// A listener was removed.
    ListenerRemoved {
        /// The listener's group.
        group: GroupName,
        /// Treatment of its waiting events.
        pending: Pending,
    },
    /// A bus was added, or a default bus got its definition.
    BusAdded {
        /// The whole bus.
        bus: BusDefinition,
    },
    /// A bus got a new definition.
    BusChanged {
        /// The whole bus.
        bus: BusDefinition,
    },
    /// A bus was removed.
    BusRemoved {
        /// The bus, as it was last defined.
        bus: BusDefinition,
    },
    /// Settings of the cluster were changed.
    ClusterChanged {
        /// All settings, also those that stayed.
        settings: ClusterSettings,
    },
    /// The listener that is added next took an orphan over, with the events in it.
    QueueTakenOver {
        /// The orphan.
        queue: OrphanQueue,
    },
    /// An orphan was released: it is unbound and deleted with the events in it.
    QueueReleased {
        /// The orphan.
        queue: OrphanQueue,
    },
    /// The log got a new identity, after a restore or a loss of the database.
    LogAdopted {
        /// The identities before and after.
        adoption: LogAdoption,
    },
}

impl RosterEvent {
    /// The group that the event is about. `None` for an event about a bus, the cluster or the log.
    #[must_use]
    pub fn group(&self) -> Option<&GroupName> {
        match self {
            Self::ListenerAdded { listener, .. } | Self::ListenerChanged { listener } => {
                Some(&listener.group)
            }
            Self::ListenerPaused { group }
            | Self::ListenerResumed { group }
            | Self::ListenerRemoved { group, .. } => Some(group),
            Self::QueueTakenOver { queue } | Self::QueueReleased { queue } => Some(&queue.id.group),
            Self::BusAdded { .. }
            | Self::BusChanged { .. }
            | Self::BusRemoved { .. }
            | Self::ClusterChanged { .. }
            | Self::LogAdopted { .. } => None,
        }
    }

    /// Stable name of the event's type, as it is stored and shown.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::ListenerAdded { .. } => "ListenerAdded",
            Self::ListenerChanged { .. } => "ListenerChanged",
            Self::ListenerPaused { .. } => "ListenerPaused",
            Self::ListenerResumed { .. } => "ListenerResumed",
            Self::ListenerRemoved { .. } => "ListenerRemoved",
            Self::BusAdded { .. } => "BusAdded",
            Self::BusChanged { .. } => "BusChanged",
            Self::BusRemoved { .. } => "BusRemoved",
            Self::ClusterChanged { .. } => "ClusterChanged",
            Self::QueueTakenOver { .. } => "QueueTakenOver",
            Self::QueueReleased { .. } => "QueueReleased",
            Self::LogAdopted { .. } => "LogAdopted",
        }
    }
}

/// Signature of a node under its actions.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NodeRef {
    /// Configured id of the node.
    pub id: String,
    /// Host that the node runs on.
    pub host: String,
}

/// Audit of a command: who asked for it, on which node, and why (James ADR 26).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The authenticated subject, or `node:<id>` when a node acts by itself.
    pub actor: String,
    /// Node that took the command.
    pub node: NodeRef,
    /// Reason, in the administrator's own words.
    pub reason: Option<String>,
    /// Identity of the command. An `Idempotency-Key` maps to it.
    pub command_id: Uuid,
    /// Id of the HTTP request that carried the command, as the log shows it.
    pub request_id: Option<String>,
}

/// An event with its position in the history.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Position of the event.
    pub version: Version,
    /// Identity of the event. Two histories with the same event have the same events before it.
    pub event_id: Uuid,
    /// The event.
    pub event: RosterEvent,
    /// Audit of the command that led to the event.
    pub audit: Audit,
    /// Time of recording, by the database's clock. It informs people and orders nothing.
    pub recorded_at: OffsetDateTime,
}
