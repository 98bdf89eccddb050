//! The roster: the listeners of a cluster, folded from the history of events.
//!
//! [`decide`] says which events a command leads to, and [`Roster::evolve`] folds an event into the
//! roster. Both are pure. The roster after folding every event equals the roster that each node
//! holds in memory.

use super::{
    command::{Command, Pending},
    event::{Generation, NodeRef, RecordedEvent, RosterEvent, Version},
    listener::ListenerSpec,
    name::{BusName, ClassName, GroupName},
};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// A configured listener, with the audit of its addition.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// Settings of the listener.
    pub listener: ListenerSpec,
    /// Generation of the queue that the listener consumes.
    pub generation: Generation,
    /// Version that added the listener.
    pub version: Version,
    /// Time of the addition, by the database's clock.
    pub added_at: OffsetDateTime,
    /// Actor who added the listener.
    pub added_by: String,
    /// Node that took the command.
    pub added_on: NodeRef,
    /// Reason that the actor gave.
    pub reason: Option<String>,
}

/// The roster's memory of a removed listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Tombstone {
    /// Settings of the removed listener, so that any node can drain its queue.
    pub listener: ListenerSpec,
    /// Treatment of its waiting events.
    pub pending: Pending,
    /// Version that removed the listener.
    pub version: Version,
}

/// Identity of a work queue in the roster.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId {
    /// Group that the queue belongs to.
    pub group: GroupName,
    /// Number of the queue among the group's queues, from 1.
    pub generation: Generation,
}

impl QueueId {
    /// Identity of a group's queue of this generation.
    #[must_use]
    pub fn new(group: GroupName, generation: Generation) -> Self {
        Self { group, generation }
    }
}

/// The configured listeners and the tombstones, at one version.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roster {
    version: Version,
    last_event: Option<Uuid>,
    listeners: BTreeMap<GroupName, Configured>,
    tombstones: BTreeMap<QueueId, Tombstone>,
    generations: BTreeMap<GroupName, Generation>,
}

/// Reason why the roster refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The group already has a listener (James ADR 35: a group is used once).
    #[error(
        "group {group} is in use by a listener of class {class}; remove it first, or choose another group"
    )]
    GroupInUse {
        /// The group of the command.
        group: GroupName,
        /// The class of the listener that uses the group.
        class: ClassName,
    },
    /// The group has no listener.
    #[error("no listener of group {group} is configured")]
    NotConfigured {
        /// The group of the command.
        group: GroupName,
    },
}

/// Decides which events a command leads to. Changes nothing.
///
/// # Errors
/// The rule that the command breaks.
pub fn decide(roster: &Roster, command: &Command) -> Result<Vec<RosterEvent>, Refusal> {
    match command {
        Command::AddListener(listener) => match roster.listeners.get(&listener.group) {
            Some(present) => Err(Refusal::GroupInUse {
                group: listener.group.clone(),
                class: present.listener.class.clone(),
            }),
            None => Ok(vec![RosterEvent::ListenerAdded {
                listener: listener.clone(),
                generation: roster.next_generation(&listener.group, &listener.bus),
            }]),
        },
        Command::RemoveListener { group, pending } => {
            roster.configured(group)?;
            Ok(vec![RosterEvent::ListenerRemoved { group: group.clone(), pending: *pending }])
        }
        Command::MigrateListener { group } => {
            let present = roster.configured(group)?;
            Ok(vec![
                RosterEvent::ListenerRemoved { group: group.clone(), pending: Pending::Drain },
                RosterEvent::ListenerAdded {
                    listener: present.listener.clone(),
                    generation: roster.last_generation(group) + 1,
                },
            ])
        }
    }
}

impl Roster {
    /// Version of the last event that was folded in; 0 before any event.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// Identity of the last event that was folded in.
    #[must_use]
    pub fn last_event(&self) -> Option<Uuid> {
        self.last_event
    }

    /// The configured listeners, by group.
    #[must_use]
    pub fn listeners(&self) -> &BTreeMap<GroupName, Configured> {
        &self.listeners
    }

    /// The queues of removed listeners, by group and generation.
    #[must_use]
    pub fn tombstones(&self) -> &BTreeMap<QueueId, Tombstone> {
        &self.tombstones
    }

    /// Whether returning events of this group are dropped: the group is not configured, and its
    /// last removal said `discard`.
    #[must_use]
    pub fn discards(&self, group: &GroupName) -> bool {
        let of_group = self.tombstones.iter().filter(|(id, _)| id.group == *group);
        let last = of_group.max_by_key(|(_, tombstone)| tombstone.version);
        !self.listeners.contains_key(group)
            && last.is_some_and(|(_, tombstone)| tombstone.pending == Pending::Discard)
    }

    /// The listener of a group.
    ///
    /// # Errors
    /// [`Refusal::NotConfigured`] when the group has no listener.
    pub fn configured(&self, group: &GroupName) -> Result<&Configured, Refusal> {
        self.listeners.get(group).ok_or_else(|| Refusal::NotConfigured { group: group.clone() })
    }

    /// Folds one event in. The caller passes the events in the order of their versions and leaves
    /// none out.
    pub fn evolve(&mut self, recorded: &RecordedEvent) {
        self.version = recorded.version;
        self.last_event = Some(recorded.event_id);
        match &recorded.event {
            RosterEvent::ListenerAdded { listener, generation } => {
                let group = listener.group.clone();
                self.tombstones.remove(&QueueId::new(group.clone(), *generation));
                let last = self.generations.entry(group.clone()).or_insert(*generation);
                *last = (*last).max(*generation);
                let audit = &recorded.audit;
                let configured = Configured {
                    listener: listener.clone(),
                    generation: *generation,
                    version: recorded.version,
                    added_at: recorded.recorded_at,
                    added_by: audit.actor.clone(),
                    added_on: audit.node.clone(),
                    reason: audit.reason.clone(),
                };
                self.listeners.insert(group, configured);
            }
            RosterEvent::ListenerRemoved { group, pending } => {
                if let Some(removed) = self.listeners.remove(group) {
                    let tombstone = Tombstone {
                        listener: removed.listener,
                        pending: *pending,
                        version: recorded.version,
                    };
                    self.tombstones
                        .insert(QueueId::new(group.clone(), removed.generation), tombstone);
                }
            }
        }
    }

    fn last_generation(&self, group: &GroupName) -> Generation {
        self.generations.get(group).copied().unwrap_or(0)
    }

    /// Generation of the queue for a group that is added. A kept queue is consumed again. The name
    /// of any other queue is never used twice, so that a late deletion by a node with an old roster
    /// finds no queue.
    fn next_generation(&self, group: &GroupName, bus: &BusName) -> Generation {
        let last = self.last_generation(group);
        match self.tombstones.get(&QueueId::new(group.clone(), last)) {
            Some(kept) if kept.pending == Pending::Keep && kept.listener.bus == *bus => last,
            _ => last + 1,
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
