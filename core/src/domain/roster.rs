//! The roster: the listeners a cluster has, folded from its history.
//!
//! [`decide`] says what a command leads to, [`Roster::evolve`] folds an event in. Both are pure;
//! the state after folding every event equals the state any node holds in memory.

use super::{
    command::{Command, Pending},
    event::{Generation, NodeRef, RecordedEvent, RosterEvent, Version},
    listener::ListenerSpec,
    name::{BusName, ClassName, GroupName},
};
use std::collections::BTreeMap;
use time::OffsetDateTime;
use uuid::Uuid;

/// A listener of the roster, with who added it.
#[derive(Debug, Clone, PartialEq)]
pub struct Configured {
    /// The listener.
    pub listener: ListenerSpec,
    /// Which of the group's queues it works on.
    pub generation: Generation,
    /// The version that added it.
    pub version: Version,
    /// When, by the database's clock.
    pub added_at: OffsetDateTime,
    /// Who.
    pub added_by: String,
    /// From which node.
    pub added_on: NodeRef,
    /// Why.
    pub reason: Option<String>,
}

/// What the roster remembers of a removed listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Tombstone {
    /// The listener as it was, so that any node can drain its queue.
    pub listener: ListenerSpec,
    /// What becomes of its waiting events.
    pub pending: Pending,
    /// The version that removed it.
    pub version: Version,
}

/// A work queue's identity in the roster: which of a group's queues it is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QueueId {
    /// The group.
    pub group: GroupName,
    /// How often the group's queue was replaced, from 1.
    pub generation: Generation,
}

impl QueueId {
    /// The identity of a group's queue of this generation.
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

/// Why the roster refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The group has a listener already (ADR 35: a group is used once).
    #[error(
        "group {group} is in use by a listener of class {class}; remove it first, or choose another group"
    )]
    GroupInUse {
        /// The group asked for.
        group: GroupName,
        /// The class of the listener that has it.
        class: ClassName,
    },
    /// No listener of that group is configured.
    #[error("no listener of group {group} is configured")]
    NotConfigured {
        /// The group asked for.
        group: GroupName,
    },
}

/// What a command leads to. Nothing is changed.
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
    /// The position this state was folded up to; 0 before any event.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The identity of the last event folded in.
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

    /// Whether what comes back for a group is dropped: it is not configured, and whoever removed it
    /// last said so.
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
    /// [`Refusal::NotConfigured`] when there is none.
    pub fn configured(&self, group: &GroupName) -> Result<&Configured, Refusal> {
        self.listeners.get(group).ok_or_else(|| Refusal::NotConfigured { group: group.clone() })
    }

    /// Folds one event in. The caller hands them over in order, without holes.
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

    /// A kept queue is taken up again; any other queue's name is never used twice, so that a late
    /// delete by a stale node hits nothing.
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
