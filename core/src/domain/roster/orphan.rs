//! Decisions about orphans: work queues that the broker has and the log did not know.

use super::{QueueId, Refusal, Roster};
use crate::domain::{
    event::Generation,
    listener::{Delivery, ListenerSpec},
    name::BusName,
};
use std::collections::BTreeSet;

/// Identity of an orphan: a work queue with the marker of this cluster that the log does not know.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrphanQueue {
    /// Bus that the queue's name has.
    pub bus: BusName,
    /// Group and generation that the queue's name has.
    pub id: QueueId,
}

/// Decision of an administrator about an orphan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrphanDecision {
    /// A listener that was added took the queue over, with the events in it.
    TakenOver,
    /// The queue is unbound and deleted with the events in it.
    Released,
}

impl Roster {
    /// The orphan that a listener takes over when it is added: the highest generation of its group
    /// on its bus, so that the queue of the newest listener is used again.
    ///
    /// An every-node listener has no work queue and takes nothing over. A generation that the log
    /// has used, for another bus or another delivery, stays with its first queue.
    pub(super) fn orphan_for(
        &self,
        added: &ListenerSpec,
        orphans: &BTreeSet<OrphanQueue>,
    ) -> Option<OrphanQueue> {
        if added.delivery == Delivery::EveryNode {
            return None;
        }
        let fitting = orphans.iter().filter(|orphan| {
            orphan.id.group == added.group && orphan.bus == added.bus && !self.uses(&orphan.id)
        });
        fitting.max_by_key(|orphan| orphan.id.generation).cloned()
    }

    /// Checks that an orphan can be released. Returns whether it was released before.
    pub(super) fn check_release(&self, queue: &OrphanQueue) -> Result<bool, Refusal> {
        if self.orphans.get(queue) == Some(&OrphanDecision::Released) {
            return Ok(true);
        }
        if self.uses(&queue.id) {
            let QueueId { group, generation } = queue.id.clone();
            return Err(Refusal::GenerationInUse { group, generation });
        }
        Ok(false)
    }

    /// Whether an administrator can still decide about an orphan by taking it over or by releasing
    /// it: the log has not used its group and generation for another queue.
    #[must_use]
    pub fn may_decide_about(&self, queue: &OrphanQueue) -> bool {
        !self.uses(&queue.id)
    }

    /// Whether the log has a queue of this group and generation, on any bus.
    fn uses(&self, id: &QueueId) -> bool {
        let is_current = |generation: Generation| generation == id.generation;
        self.tombstones.contains_key(id)
            || self.orphans.keys().any(|orphan| orphan.id == *id)
            || self.listeners.get(&id.group).is_some_and(|found| is_current(found.generation))
    }

    /// Folds in a decision about an orphan. The generation is used from then on.
    pub(super) fn decide_orphan(&mut self, queue: &OrphanQueue, decision: OrphanDecision) {
        self.orphans.insert(queue.clone(), decision);
        self.note_generation(&queue.id.group, queue.id.generation);
    }
}

#[cfg(test)]
mod tests;
