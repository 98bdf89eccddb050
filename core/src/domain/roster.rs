//! The roster: the listeners, the buses and the settings of a cluster, folded from the history of
//! events.
//!
//! [`decide`] says which events a command leads to, and [`Roster::evolve`] folds an event into the
//! roster. Both are pure. The roster after folding every event equals the roster that each node
//! holds in memory.

mod bus_change;
mod bus_list;
mod configured;
mod diff;
mod orphan;
mod refusal;
mod settings;

pub use bus_list::BusAddition;
use bus_list::BusList;
pub use configured::{Amendment, Configured};
pub use diff::{ListenerDiff, RosterDiff};
pub use orphan::{OrphanDecision, OrphanQueue};
pub use refusal::{FixedSetting, Refusal};

use super::{
    bus::Buses,
    cluster::RecordedSettings,
    command::{Command, Pending},
    event::{Generation, RecordedEvent, RosterEvent, Version},
    listener::ListenerSpec,
    name::{BusName, GroupName},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use time::OffsetDateTime;
use uuid::Uuid;

/// The roster's memory of a removed listener.
#[derive(Debug, Clone, PartialEq)]
pub struct Tombstone {
    /// Settings of the removed listener, so that any node can drain its queue.
    pub listener: ListenerSpec,
    /// Treatment of its waiting events.
    pub pending: Pending,
    /// Version that removed the listener.
    pub version: Version,
    /// Time of the removal, by the database's clock.
    pub removed_at: OffsetDateTime,
    /// Actor who removed the listener.
    pub removed_by: String,
    /// Reason that the actor gave.
    pub reason: Option<String>,
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

/// The settings, the buses, the configured listeners and the tombstones, at one version.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Roster {
    version: Version,
    last_event: Option<Uuid>,
    listeners: BTreeMap<GroupName, Configured>,
    tombstones: BTreeMap<QueueId, Tombstone>,
    generations: BTreeMap<GroupName, Generation>,
    buses: BusList,
    cluster: Arc<RecordedSettings>,
    orphans: BTreeMap<OrphanQueue, OrphanDecision>,
}

/// Decides which events a command leads to. Changes nothing. `orphans` are the orphans that the
/// last pass found; only the addition of a listener depends on them.
///
/// A command whose effect is there already leads to no event: a pause of a paused listener, a
/// resumption of a listener that is not paused, a change to the settings that the listener or the
/// cluster has, the migration of a queue that its listener has left, and the release of a queue
/// that is released.
///
/// # Errors
/// The rule that the command breaks.
pub fn decide(
    roster: &Roster,
    command: &Command,
    orphans: &BTreeSet<OrphanQueue>,
) -> Result<Vec<RosterEvent>, Refusal> {
    match command {
        Command::AddListener(listener) => match roster.listeners.get(&listener.group) {
            Some(present) => Err(Refusal::GroupInUse {
                group: listener.group.clone(),
                class: present.listener.class.clone(),
            }),
            None => Ok(roster.addition(listener, orphans)),
        },
        Command::ChangeListener(listener) => {
            let present = roster.configured(&listener.group)?;
            refusal::check_fixed(&present.listener, listener)?;
            let change = RosterEvent::ListenerChanged { listener: listener.clone() };
            Ok(Vec::from_iter((present.listener != *listener).then_some(change)))
        }
        Command::PauseListener { group } => {
            let pause = RosterEvent::ListenerPaused { group: group.clone() };
            Ok(Vec::from_iter((!roster.configured(group)?.is_paused()).then_some(pause)))
        }
        Command::ResumeListener { group } => {
            let resumption = RosterEvent::ListenerResumed { group: group.clone() };
            Ok(Vec::from_iter(roster.configured(group)?.is_paused().then_some(resumption)))
        }
        Command::RemoveListener { group, pending } => {
            roster.configured(group)?;
            Ok(vec![RosterEvent::ListenerRemoved { group: group.clone(), pending: *pending }])
        }
        Command::MigrateListener { queue: QueueId { group, generation } } => {
            let present = roster.configured(group)?;
            if present.generation != *generation {
                return Ok(Vec::new());
            }
            let mut events = vec![
                RosterEvent::ListenerRemoved { group: group.clone(), pending: Pending::Drain },
                RosterEvent::ListenerAdded {
                    listener: present.listener.clone(),
                    generation: roster.last_generation(group) + 1,
                },
            ];
            if present.is_paused() {
                events.push(RosterEvent::ListenerPaused { group: group.clone() });
            }
            Ok(events)
        }
        Command::AddBus(bus) => {
            roster.check_new_bus(bus)?;
            Ok(vec![RosterEvent::BusAdded { bus: bus.clone() }])
        }
        Command::ChangeBus(bus) => roster.bus_change(bus),
        Command::RemoveBus(bus) => roster.bus_removal(bus),
        Command::ChangeCluster(change) => roster.cluster_change(change),
        Command::ReleaseQueue { queue } => {
            let release = RosterEvent::QueueReleased { queue: queue.clone() };
            Ok(Vec::from_iter((!roster.check_release(queue)?).then_some(release)))
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

    /// The cluster's buses: the default buses and the buses that were added.
    #[must_use]
    pub fn buses(&self) -> &Arc<Buses> {
        self.buses.definitions()
    }

    /// The addition of a bus. `None` for a default bus that no event defines, and for a bus that
    /// the cluster does not have.
    #[must_use]
    pub fn bus_addition(&self, bus: &BusName) -> Option<&BusAddition> {
        self.buses.addition(bus)
    }

    /// Decisions about orphans, by queue.
    #[must_use]
    pub fn orphans(&self) -> &BTreeMap<OrphanQueue, OrphanDecision> {
        &self.orphans
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
                self.note_generation(&group, *generation);
                let configured = Configured::by(listener.clone(), *generation, recorded);
                self.listeners.insert(group, configured);
            }
            RosterEvent::ListenerChanged { .. }
            | RosterEvent::ListenerPaused { .. }
            | RosterEvent::ListenerResumed { .. } => {
                let configured =
                    recorded.event.group().and_then(|group| self.listeners.get_mut(group));
                if let Some(configured) = configured {
                    configured.amend(recorded);
                }
            }
            RosterEvent::BusAdded { bus } => self.buses.add(bus, recorded),
            RosterEvent::BusChanged { bus } => self.buses.change(bus),
            RosterEvent::BusRemoved { bus } => self.buses.remove(&bus.name),
            RosterEvent::ClusterChanged { settings } => self.record_settings(settings, recorded),
            RosterEvent::ListenerRemoved { group, pending } => {
                if let Some(removed) = self.listeners.remove(group) {
                    let tombstone = Tombstone {
                        listener: removed.listener,
                        pending: *pending,
                        version: recorded.version,
                        removed_at: recorded.recorded_at,
                        removed_by: recorded.audit.actor.clone(),
                        reason: recorded.audit.reason.clone(),
                    };
                    self.tombstones
                        .insert(QueueId::new(group.clone(), removed.generation), tombstone);
                }
            }
            RosterEvent::QueueTakenOver { queue } => {
                self.decide_orphan(queue, OrphanDecision::TakenOver);
            }
            RosterEvent::QueueReleased { queue } => {
                self.decide_orphan(queue, OrphanDecision::Released);
            }
            RosterEvent::LogAdopted { .. } => {}
        }
    }

    fn note_generation(&mut self, group: &GroupName, generation: Generation) {
        let last = self.generations.entry(group.clone()).or_insert(generation);
        *last = (*last).max(generation);
    }

    fn last_generation(&self, group: &GroupName) -> Generation {
        self.generations.get(group).copied().unwrap_or(0)
    }

    /// Whether a listener of the group is configured and paused.
    #[must_use]
    pub fn is_paused(&self, group: &GroupName) -> bool {
        self.listeners.get(group).is_some_and(Configured::is_paused)
    }

    /// Events that add a listener. An orphan of its group is taken over.
    fn addition(
        &self,
        listener: &ListenerSpec,
        orphans: &BTreeSet<OrphanQueue>,
    ) -> Vec<RosterEvent> {
        let orphan = self.orphan_for(listener, orphans);
        let generation = (orphan.as_ref())
            .map_or_else(|| self.next_generation(listener), |orphan| orphan.id.generation);
        let taken = orphan.map(|queue| RosterEvent::QueueTakenOver { queue });
        let added = RosterEvent::ListenerAdded { listener: listener.clone(), generation };
        taken.into_iter().chain([added]).collect()
    }

    /// Generation of the queue for a listener that is added. The newest queue that was kept for a
    /// listener of the same group, bus and delivery is consumed again. The name of any other queue
    /// is never used twice, so that a late deletion by a node with an old roster finds no queue. A
    /// queue that was kept for another bus or another delivery keeps its tombstone.
    fn next_generation(&self, added: &ListenerSpec) -> Generation {
        let of_group = self.tombstones.iter().filter(|(id, _)| id.group == added.group);
        let kept = of_group.filter(|(_, tombstone)| {
            let ListenerSpec { bus, delivery, .. } = &tombstone.listener;
            tombstone.pending == Pending::Keep && *bus == added.bus && *delivery == added.delivery
        });
        let newest = kept.map(|(id, _)| id.generation).max();
        newest.unwrap_or_else(|| self.last_generation(&added.group) + 1)
    }
}

#[cfg(test)]
pub(crate) mod tests;
