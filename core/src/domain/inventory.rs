//! The queues of the cluster, each with its kind and with what an operator can do about it.

mod advice;

pub use advice::{QueueAdvice, QueueRemedy};

use super::{
    command::Pending,
    desired::Desired,
    layout::{Layout, ObjectName},
    name::BusName,
    roster::{QueueId, Roster, Tombstone},
    topology::Topology,
};
use serde::Serialize;
use std::collections::BTreeSet;

/// Purpose of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum QueueKind {
    /// The work queue of a listener.
    Work,
    /// The queue of a removed listener whose events are kept.
    Kept,
    /// A queue that is deleted by itself: the queue of a listener that was removed with `drain` or
    /// `discard`, or a released orphan.
    Draining,
    /// A queue with the marker of this cluster that the log does not know.
    Orphan,
    /// The queue in which failed events wait for their next attempt.
    Wait,
    /// The queue of messages that no listener can take.
    Parked,
}

/// Whether the broker has a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueuePlace {
    /// The broker has the queue.
    Present,
    /// The broker does not have the queue.
    Absent,
    /// The broker could not be read.
    Unknown,
}

/// A queue of the cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InventoryQueue {
    /// Name on the broker.
    pub name: String,
    /// Purpose of the queue.
    pub kind: QueueKind,
    /// Bus that the queue belongs to.
    pub bus: BusName,
    /// Group and generation of a work queue.
    pub id: Option<QueueId>,
    /// Whether the broker has the queue.
    pub place: QueuePlace,
}

impl InventoryQueue {
    /// The roster's memory of the removed listener that the queue belonged to.
    #[must_use]
    pub fn tombstone<'a>(&self, roster: &'a Roster) -> Option<&'a Tombstone> {
        let id = self.id.as_ref().filter(|_| self.kind != QueueKind::Work)?;
        roster.tombstones().get(id).filter(|tombstone| tombstone.listener.bus == self.bus)
    }
}

/// The queues that are desired, that are left of removed listeners, or that carry our marker, by
/// name. Queues that belong to a connection of a node are left out. `observed` is `None` when the
/// broker could not be read.
#[must_use]
pub fn list_queues(
    layout: &Layout,
    desired: &Desired,
    observed: Option<&Topology>,
) -> Vec<InventoryQueue> {
    let ours = observed.into_iter().flat_map(|topology| topology.queues.values());
    let ours = ours
        .filter(|queue| layout.owns(&queue.name, &queue.arguments) && !layout.is_node_queue(queue));
    let names: BTreeSet<&String> = (desired.topology.queues.keys())
        .chain(desired.fates.keys())
        .chain(ours.map(|queue| &queue.name))
        .collect();
    let listed = names.into_iter().filter_map(|name| {
        let place = match observed {
            None => QueuePlace::Unknown,
            Some(topology) if topology.queues.contains_key(name) => QueuePlace::Present,
            Some(_) => QueuePlace::Absent,
        };
        let is_asked_for = desired.topology.queues.contains_key(name);
        // Nothing is left of the queue of a removed listener.
        if place == QueuePlace::Absent && !is_asked_for {
            return None;
        }
        let read = layout.read(name)?;
        let kind = kind_of(layout, desired, name, &read);
        let bus = read.bus()?.clone();
        let id = match read {
            ObjectName::Work { queue, .. } => Some(queue),
            _ => None,
        };
        Some(InventoryQueue { name: name.clone(), kind, bus, id, place })
    });
    listed.collect()
}

fn kind_of(layout: &Layout, desired: &Desired, name: &str, read: &ObjectName) -> QueueKind {
    match desired.fates.get(name).map(|fate| fate.pending) {
        Some(Pending::Keep) => return QueueKind::Kept,
        Some(Pending::Drain | Pending::Discard) => return QueueKind::Draining,
        None => {}
    }
    let is_known = desired.topology.queues.contains_key(name) || desired.is_idle_wait(layout, name);
    match read {
        ObjectName::Work { .. } if is_known => QueueKind::Work,
        ObjectName::Wait { .. } if is_known => QueueKind::Wait,
        ObjectName::Parked { .. } if is_known => QueueKind::Parked,
        _ => QueueKind::Orphan,
    }
}

#[cfg(test)]
mod tests;
