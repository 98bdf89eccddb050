//! A configured listener.

use crate::domain::{
    event::{Generation, NodeRef, RecordedEvent, RosterEvent, Version},
    layout::Layout,
    listener::{Delivery, ListenerSpec},
};
use std::collections::BTreeSet;
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
    /// Time of `version`, by the database's clock.
    pub version_at: OffsetDateTime,
    /// Version that added the listener.
    pub added_in: Version,
    /// Pause of the listener: no node consumes for it. `None` when the listener is not paused.
    pub pause: Option<Amendment>,
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
    /// Version of the roster after the amendment.
    pub version: Version,
}

impl Configured {
    /// The listener that a recorded event added.
    #[must_use]
    pub fn by(listener: ListenerSpec, generation: Generation, recorded: &RecordedEvent) -> Self {
        Self {
            listener,
            generation,
            version: recorded.version,
            version_at: recorded.recorded_at,
            added_in: recorded.version,
            pause: None,
            added_at: recorded.recorded_at,
            added_by: recorded.audit.actor.clone(),
            added_on: recorded.audit.node.clone(),
            amended: None,
            reason: recorded.audit.reason.clone(),
        }
    }

    /// Whether no node consumes for the listener.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Work queue of the listener. A listener that runs on every node has none.
    #[must_use]
    pub fn work_queue(&self, layout: &Layout) -> Option<String> {
        let ListenerSpec { bus, group, delivery, .. } = &self.listener;
        (*delivery == Delivery::Once).then(|| layout.work(bus, group, self.generation))
    }

    /// Queues that the listener needs: its work queue, and the wait queues of its retries. Wait
    /// levels are shared with other listeners.
    #[must_use]
    pub fn queues(&self, layout: &Layout) -> BTreeSet<String> {
        let Some(work) = self.work_queue(layout) else { return BTreeSet::new() };
        let ListenerSpec { bus, retry, .. } = &self.listener;
        let waits = retry.levels().map(|level| layout.wait(bus, level));
        std::iter::once(work).chain(waits).collect()
    }

    /// Folds in a change, a pause or a resumption. Any other event amends nothing.
    pub(super) fn amend(&mut self, recorded: &RecordedEvent) {
        let by = recorded.audit.actor.clone();
        let amendment = Amendment { at: recorded.recorded_at, by, version: recorded.version };
        match &recorded.event {
            RosterEvent::ListenerChanged { listener } => {
                self.listener = listener.clone();
                self.version = recorded.version;
                self.version_at = recorded.recorded_at;
            }
            RosterEvent::ListenerPaused { .. } => self.pause = Some(amendment.clone()),
            RosterEvent::ListenerResumed { .. } => self.pause = None,
            RosterEvent::ListenerAdded { .. }
            | RosterEvent::ListenerRemoved { .. }
            | RosterEvent::BusAdded { .. }
            | RosterEvent::BusChanged { .. }
            | RosterEvent::BusRemoved { .. }
            | RosterEvent::ClusterChanged { .. }
            | RosterEvent::QueueTakenOver { .. }
            | RosterEvent::QueueReleased { .. }
            | RosterEvent::LogAdopted { .. } => return,
        }
        self.amended = Some(amendment);
        self.reason.clone_from(&recorded.audit.reason);
    }
}
