//! Reasons for which a pass takes nothing away.

use crate::domain::{desired::Desired, event::Version, layout::Layout, topology::Topology};

/// Sign that the broker knows a later history than the log, as after a restore of the database or a
/// failover that lost commits. A listener that the log does not have may then be in use, so no pass
/// unbinds or deletes anything.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Restraint {
    /// The log neither configures the queue nor has a tombstone for it.
    #[error("queue {queue} is an orphan")]
    Orphan {
        /// Name of the queue.
        queue: String,
    },
    /// The queue was made at a version that the log does not have yet, and no administrator decided
    /// about the queue as an orphan.
    #[error(
        "queue {queue} was made at version {made} of this log, which ends at version {version}"
    )]
    LaterHistory {
        /// Name of the queue.
        queue: String,
        /// Version that made the queue.
        made: Version,
        /// Version of the roster.
        version: Version,
    },
}

impl Restraint {
    /// The first sign in an observation. An orphan comes before a later history, because an
    /// administrator can decide about an orphan.
    #[must_use]
    pub fn find(layout: &Layout, desired: &Desired, observed: &Topology) -> Option<Self> {
        let version = desired.version;
        let mut queues = observed.queues.values();
        let orphan = queues.find(|queue| desired.is_orphan(layout, queue));
        let later = || {
            let mut owned = (observed.queues.values())
                .filter(|queue| layout.owns(&queue.name, &queue.arguments))
                .filter(|queue| desired.orphan_decision(&queue.name).is_none());
            owned.find_map(|queue| {
                let made = layout.made_at(queue).filter(|made| *made > version)?;
                Some(Self::LaterHistory { queue: queue.name.clone(), made, version })
            })
        };
        orphan.map(|queue| Self::Orphan { queue: queue.name.clone() }).or_else(later)
    }
}
