//! A configured listener.

use crate::domain::{
    event::{Generation, NodeRef, RecordedEvent, RosterEvent, Version},
    listener::ListenerSpec,
};
use time::OffsetDateTime;

/// A configured listener, with the audit of its addition and of its last amendment.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// Settings of the listener.
    pub listener: ListenerSpec,
    /// Generation of the queue that the listener consumes.
    pub generation: Generation,
    /// Version that last added the listener or changed its settings. The topology of the listener
    /// depends on no later version.
    pub version: Version,
    /// Version that added the listener.
    pub added_in: Version,
    /// Whether no node consumes for the listener.
    pub paused: bool,
    /// Time of the addition, by the database's clock.
    pub added_at: OffsetDateTime,
    /// Actor who added the listener.
    pub added_by: String,
    /// Node that took the command to add the listener.
    pub added_on: NodeRef,
    /// The last change, pause or resumption since the addition.
    pub amended: Option<Amendment>,
    /// Reason that the actor of the last amendment gave, or else the actor of the addition.
    pub reason: Option<String>,
}

/// Audit of a change, a pause or a resumption of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Amendment {
    /// Time of the amendment, by the database's clock.
    pub at: OffsetDateTime,
    /// Actor who amended the listener.
    pub by: String,
}

impl Configured {
    /// The listener that a recorded event added.
    #[must_use]
    pub fn by(listener: ListenerSpec, generation: Generation, recorded: &RecordedEvent) -> Self {
        Self {
            listener,
            generation,
            version: recorded.version,
            added_in: recorded.version,
            paused: false,
            added_at: recorded.recorded_at,
            added_by: recorded.audit.actor.clone(),
            added_on: recorded.audit.node.clone(),
            amended: None,
            reason: recorded.audit.reason.clone(),
        }
    }

    /// Folds in a change, a pause or a resumption. Any other event amends nothing.
    pub(super) fn amend(&mut self, recorded: &RecordedEvent) {
        match &recorded.event {
            RosterEvent::ListenerChanged { listener } => {
                self.listener = listener.clone();
                self.version = recorded.version;
            }
            RosterEvent::ListenerPaused { .. } => self.paused = true,
            RosterEvent::ListenerResumed { .. } => self.paused = false,
            RosterEvent::ListenerAdded { .. } | RosterEvent::ListenerRemoved { .. } => return,
        }
        let by = recorded.audit.actor.clone();
        self.amended = Some(Amendment { at: recorded.recorded_at, by });
        self.reason.clone_from(&recorded.audit.reason);
    }
}
