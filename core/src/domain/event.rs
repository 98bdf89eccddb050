//! What happened to the roster, and who, when, where and why.

use super::{command::Pending, listener::ListenerSpec, name::GroupName};
use time::OffsetDateTime;
use uuid::Uuid;

/// How often a group's queue has been replaced; part of the queue's name. Starts at 1.
pub type Generation = u32;

/// Position in the roster's history. Dense; the first event has version 1.
pub type Version = u64;

/// A fact of the roster's history.
#[derive(Debug, Clone, PartialEq)]
pub enum RosterEvent {
    /// A listener was configured.
    ListenerAdded {
        /// The listener, whole.
        listener: ListenerSpec,
        /// Which of the group's queues it works on.
        generation: Generation,
    },
    /// A listener was unconfigured.
    ListenerRemoved {
        /// Which.
        group: GroupName,
        /// What becomes of its waiting events.
        pending: Pending,
    },
}

impl RosterEvent {
    /// The group the event is about.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        match self {
            Self::ListenerAdded { listener, .. } => &listener.group,
            Self::ListenerRemoved { group, .. } => group,
        }
    }

    /// The event's stable name, as it is stored and shown.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::ListenerAdded { .. } => "ListenerAdded",
            Self::ListenerRemoved { .. } => "ListenerRemoved",
        }
    }
}

/// A node, as it signs what it does.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct NodeRef {
    /// The node's configured id.
    pub id: String,
    /// The host it runs on.
    pub host: String,
}

/// Who asked, where, and why: the audit ADR 26 wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The authenticated subject, or `node:<id>` for what a node does by itself.
    pub actor: String,
    /// The node that took the command.
    pub node: NodeRef,
    /// Free text, as the administrator gave it.
    pub reason: Option<String>,
    /// Names the command; an `Idempotency-Key` maps to it.
    pub command_id: Uuid,
    /// The HTTP request that carried it, as the log has it.
    pub request_id: Option<String>,
}

/// An event with its place in history.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedEvent {
    /// Its position.
    pub version: Version,
    /// Its identity: two histories that agree on it agree on all before it.
    pub event_id: Uuid,
    /// What happened.
    pub event: RosterEvent,
    /// Who, where, why.
    pub audit: Audit,
    /// The database's clock. Information only, never ordering.
    pub recorded_at: OffsetDateTime,
}
