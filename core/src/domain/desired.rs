//! Topology that a roster asks for.

use super::{
    bus::{BusDefinition, Buses},
    command::Pending,
    drift::Object,
    event::Version,
    layout::{Flavor, Layout, ObjectName},
    listener::Delivery,
    name::BusName,
    roster::{Configured, OrphanDecision, QueueId, Roster},
    span::Span,
    topology::{Binding, ExchangeKind, Queue, Topology},
};
use std::collections::{BTreeMap, BTreeSet};

/// The shortest time a drained queue must have been empty before it is deleted. The management
/// API's counters lag by up to five seconds, so one sample proves nothing.
const QUIET: Span = Span::from_secs(6);

/// Future of a removed listener's queue, of a released orphan, or of a queue of a removed bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fate {
    /// Identity of the queue in the roster. `None` for a queue of a removed bus.
    pub id: Option<QueueId>,
    /// Decision of the administrator who removed the listener.
    pub pending: Pending,
    /// Time without events and consumers that must pass before the queue is deleted: long enough
    /// for an event in the longest wait level to come back.
    pub quiet: Span,
}

/// Topology that the broker should hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Objects that must exist.
    pub topology: Topology,
    /// Bindings that may exist: they lead retried events back to the queue of a removed group.
    pub permitted: BTreeSet<Binding>,
    /// The queues of removed listeners and the released orphans, by name, as long as they have work
    /// left.
    pub fates: BTreeMap<String, Fate>,
    /// Version of the roster that asks for the topology.
    pub version: Version,
    /// The queues of removed listeners that were deleted, by name.
    retired: BTreeSet<String>,
    /// Decisions about orphans, by the name of the queue.
    orphan_decisions: BTreeMap<String, OrphanDecision>,
    buses: BTreeSet<BusName>,
    removed_buses: BTreeSet<BusName>,
    /// The exchanges of attached buses.
    attached: BTreeSet<String>,
}

/// Computes the topology that the broker should hold.
///
/// `retired` names the removed queues that were deleted. They stay deleted.
#[must_use]
pub fn desired(
    layout: &Layout,
    buses: &Buses,
    roster: &Roster,
    retired: &BTreeSet<QueueId>,
) -> Desired {
    let attached = buses.values().filter_map(BusDefinition::foreign_exchange);
    let mut desired = Desired {
        buses: buses.keys().cloned().collect(),
        removed_buses: roster.removed_buses().clone(),
        attached: attached.map(str::to_owned).collect(),
        version: roster.version(),
        ..Desired::default()
    };
    let mut marker = layout.exchange(layout.marker(), ExchangeKind::Direct);
    marker.internal = true;
    desired.topology.add_exchange(marker);
    for bus in buses.values() {
        desired.add_bus(layout, bus);
    }
    for configured in roster.listeners().values() {
        let events = (buses.get(&configured.listener.bus))
            .map_or_else(|| layout.main(&configured.listener.bus), |bus| layout.events(bus));
        desired.add_listener(layout, configured, &events);
    }
    for (id, tombstone) in roster.tombstones() {
        let listener = &tombstone.listener;
        if listener.delivery == Delivery::EveryNode {
            continue;
        }
        let queue = layout.work(&listener.bus, &id.group, id.generation);
        if retired.contains(id) {
            desired.retired.insert(queue);
            continue;
        }
        let longest = listener.retry.longest_level();
        let quiet = QUIET.max(Span::from_millis(longest + 1_000));
        let fate = Fate { id: Some(id.clone()), pending: tombstone.pending, quiet };
        // A group that has a queue again has a return binding to that queue.
        let has_queue = (roster.listeners().get(&id.group))
            .is_some_and(|configured| configured.listener.delivery == Delivery::Once);
        if tombstone.pending != Pending::Discard && !has_queue {
            let back = layout.returns(&listener.bus);
            desired.permitted.insert(Binding::of_queue(&back, &queue, id.group.as_str()));
        }
        desired.fates.insert(queue, fate);
    }
    desired.add_orphans(layout, roster, retired);
    desired
}

impl Desired {
    /// Whether the object is desired.
    #[must_use]
    pub fn contains(&self, object: &Object) -> bool {
        match object {
            Object::Exchange(exchange) => self.topology.exchanges.contains_key(&exchange.name),
            Object::Queue(queue) => self.topology.queues.contains_key(&queue.name),
            Object::Binding(binding) => self.topology.bindings.contains(binding),
        }
    }

    /// Whether the name is that of a wait level that may stay although no listener uses it.
    #[must_use]
    pub fn is_idle_wait(&self, layout: &Layout, name: &str) -> bool {
        self.buses.iter().any(|bus| layout.is_wait(bus, name))
    }

    /// Whether a queue with our marker is unknown to the log: the queue is neither desired nor the
    /// queue of a removed listener, of a wait level or of a node.
    #[must_use]
    pub fn is_orphan(&self, layout: &Layout, queue: &Queue) -> bool {
        let name = &queue.name;
        layout.owns(name, &queue.arguments)
            && !layout.is_node_queue(queue)
            && !self.topology.queues.contains_key(name)
            && !self.fates.contains_key(name)
            && !self.retired.contains(name)
            && !self.is_remnant(layout, name)
            && !self.is_idle_wait(layout, name)
    }

    /// Removed bus to which an object belongs, by the object's name.
    #[must_use]
    pub fn removed_bus(&self, layout: &Layout, name: &str) -> Option<BusName> {
        if self.removed_buses.is_empty() {
            return None;
        }
        layout.read(name)?.bus().filter(|bus| self.removed_buses.contains(*bus)).cloned()
    }

    /// Whether the name is that of a queue which a removed bus left: the queue of parked messages,
    /// or the queue of a wait level.
    #[must_use]
    pub fn is_remnant(&self, layout: &Layout, name: &str) -> bool {
        self.removed_bus(layout, name).is_some()
            && matches!(
                layout.read(name),
                Some(ObjectName::Parked { .. } | ObjectName::Wait { .. })
            )
    }

    /// Future of a queue that is to be deleted, or of a kept queue. What a removed bus left is
    /// deleted once it has stayed empty.
    #[must_use]
    pub fn fate(&self, layout: &Layout, queue: &str) -> Option<Fate> {
        let remnant = || Fate { id: None, pending: Pending::Drain, quiet: QUIET };
        let known = self.fates.get(queue).cloned();
        known.or_else(|| self.is_remnant(layout, queue).then(remnant))
    }

    /// Decision of an administrator about a queue that was an orphan.
    #[must_use]
    pub fn orphan_decision(&self, queue: &str) -> Option<OrphanDecision> {
        self.orphan_decisions.get(queue).copied()
    }

    /// Whether the exchange belongs to an attached bus. Our queues are bound to it; hearken changes
    /// nothing else about it.
    #[must_use]
    pub fn is_attached(&self, exchange: &str) -> bool {
        self.attached.contains(exchange)
    }

    fn add_bus(&mut self, layout: &Layout, definition: &BusDefinition) {
        let (topology, bus) = (&mut self.topology, &definition.name);
        // The exchange of an attached bus belongs to another program.
        if !definition.attached {
            topology.add_exchange(layout.exchange(layout.main(bus), ExchangeKind::Direct));
        }
        if layout.flavor == Flavor::Local {
            return;
        }
        topology.add_exchange(layout.exchange(layout.keys(bus), ExchangeKind::Direct));
        let parked = layout.parked(bus);
        topology.add_exchange(layout.exchange(parked.clone(), ExchangeKind::Fanout));
        topology.add_queue(layout.parked_queue(bus));
        topology.bindings.insert(Binding::of_queue(&parked, &parked, ""));
        // Without the alternate exchange, a group that vanished blocks every retry of the bus.
        let mut returns = layout.exchange(layout.returns(bus), ExchangeKind::Direct);
        returns.arguments.insert("alternate-exchange".into(), parked.into());
        topology.add_exchange(returns);
    }

    /// Adds the orphans that an administrator decided about. A released orphan is deleted like the
    /// queue of a listener that was removed with `discard`.
    fn add_orphans(&mut self, layout: &Layout, roster: &Roster, retired: &BTreeSet<QueueId>) {
        for (orphan, decision) in roster.orphans() {
            let id = &orphan.id;
            let queue = layout.work(&orphan.bus, &id.group, id.generation);
            self.orphan_decisions.insert(queue.clone(), *decision);
            match decision {
                OrphanDecision::TakenOver => {}
                OrphanDecision::Released if retired.contains(id) => {
                    self.retired.insert(queue);
                }
                OrphanDecision::Released => {
                    let id = Some(id.clone());
                    let fate = Fate { id, pending: Pending::Discard, quiet: QUIET };
                    self.fates.insert(queue, fate);
                }
            }
        }
    }

    fn add_listener(&mut self, layout: &Layout, configured: &Configured, events: &str) {
        let Configured { listener, generation, added_in, .. } = configured;
        // An every-node listener consumes a queue that belongs to the connection of each node.
        if listener.delivery == Delivery::EveryNode {
            return;
        }
        let bus = &listener.bus;
        let queue = layout.work_queue(bus, &listener.group, *generation, *added_in);
        let name = queue.name.clone();
        self.topology.add_queue(queue);
        self.topology.bindings.insert(Binding::of_queue(events, &name, ""));
        if layout.flavor == Flavor::Local {
            return;
        }
        let group = listener.group.as_str();
        self.topology.bindings.insert(Binding::of_queue(&layout.returns(bus), &name, group));
        for level in listener.retry.levels() {
            let wait = layout.wait(bus, level);
            self.topology.add_exchange(layout.exchange(wait.clone(), ExchangeKind::Fanout));
            self.topology.add_queue(layout.wait_queue(bus, level));
            self.topology.bindings.insert(Binding::of_queue(&wait, &wait, ""));
        }
    }
}

#[cfg(test)]
mod tests;
