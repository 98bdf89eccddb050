//! Comparison of the desired with the observed topology.

use super::{Drift, DriftKind, Object, Remedy};
use crate::domain::{
    command::Pending,
    desired::Desired,
    layout::{Layout, ObjectName},
    name::BusName,
    topology::{Argument, Arguments, Destination, Exchange, Queue, Topology},
};

/// Compares the topologies. The result is empty when they agree.
///
/// The result is ordered: exchanges, queues, bindings, each by name. The order has no meaning for
/// the broker; it keeps logs and reports stable between passes.
#[must_use]
pub fn between(layout: &Layout, desired: &Desired, observed: &Topology) -> Vec<Drift> {
    let mut drift = Vec::new();
    exchanges(layout, desired, observed, &mut drift);
    queues(layout, desired, observed, &mut drift);
    bindings(layout, desired, observed, &mut drift);
    drift
}

fn missing(expected: Object, remedy: Remedy) -> Drift {
    Drift { kind: DriftKind::Missing, expected: Some(expected), found: None, remedy }
}

fn found(kind: DriftKind, found: Object, remedy: Remedy) -> Drift {
    Drift { kind, expected: None, found: Some(found), remedy }
}

fn exchanges(layout: &Layout, desired: &Desired, observed: &Topology, drift: &mut Vec<Drift>) {
    for (name, expected) in &desired.topology.exchanges {
        let object = Object::Exchange(expected.clone());
        match observed.exchanges.get(name) {
            None => drift.push(missing(object, Remedy::Declare)),
            Some(present) => {
                let kind = if !layout.owns(name, &present.arguments) {
                    DriftKind::Foreign
                } else if same_exchange(expected, present) {
                    continue;
                } else {
                    DriftKind::Divergent
                };
                let (expected, found) = (Some(object), Some(Object::Exchange(present.clone())));
                drift.push(Drift { kind, expected, found, remedy: Remedy::Report });
            }
        }
    }
    for (name, present) in &observed.exchanges {
        if desired.topology.exchanges.contains_key(name) {
            continue;
        }
        let object = Object::Exchange(present.clone());
        if !layout.owns(name, &present.arguments) {
            drift.push(found(DriftKind::Foreign, object, Remedy::Report));
        } else if let Some(bus) = desired.removed_bus(layout, name) {
            if !has_queue(layout, observed, &bus) {
                drift.push(found(DriftKind::Surplus, object, exchange_remedy(observed, name)));
            }
        } else if !desired.is_idle_wait(layout, name) {
            drift.push(found(DriftKind::Surplus, object, Remedy::Report));
        }
    }
}

/// Whether the broker has a queue of ours on the bus. The exchanges of a removed bus stay until the
/// last queue is deleted: an event that waits leaves its wait queue by them.
fn has_queue(layout: &Layout, observed: &Topology, bus: &BusName) -> bool {
    let mut owned =
        observed.queues.values().filter(|queue| layout.owns(&queue.name, &queue.arguments));
    owned.any(|queue| layout.read(&queue.name).is_some_and(|name| name.bus() == Some(bus)))
}

/// Remedy of an exchange of a removed bus. An exchange to which another program has bound a queue
/// is left to an administrator.
fn exchange_remedy(observed: &Topology, exchange: &str) -> Remedy {
    let is_bound = observed.bindings.iter().any(|binding| binding.source == exchange);
    if is_bound { Remedy::Report } else { Remedy::Delete }
}

fn queues(layout: &Layout, desired: &Desired, observed: &Topology, drift: &mut Vec<Drift>) {
    for (name, expected) in &desired.topology.queues {
        let object = Object::Queue(expected.clone());
        match observed.queues.get(name) {
            None => drift.push(missing(object, Remedy::Declare)),
            Some(present) => {
                let (kind, remedy) = if !layout.owns(name, &present.arguments) {
                    (DriftKind::Foreign, Remedy::Report)
                } else if !same_queue(expected, present) {
                    let works = matches!(layout.read(name), Some(ObjectName::Work { .. }));
                    (DriftKind::Divergent, if works { Remedy::Migrate } else { Remedy::Report })
                } else if present.policy.is_some() {
                    (DriftKind::Divergent, Remedy::Report)
                } else {
                    continue;
                };
                let (expected, found) = (Some(object), Some(Object::Queue(present.clone())));
                drift.push(Drift { kind, expected, found, remedy });
            }
        }
    }
    for (name, present) in &observed.queues {
        if desired.topology.queues.contains_key(name) || layout.is_node_queue(present) {
            continue;
        }
        let object = Object::Queue(present.clone());
        if !layout.owns(name, &present.arguments) {
            drift.push(found(DriftKind::Foreign, object, Remedy::Report));
            continue;
        }
        match desired.fates.get(name).map(|fate| fate.pending) {
            Some(Pending::Keep) => {}
            Some(Pending::Drain | Pending::Discard) => {
                drift.push(found(DriftKind::Surplus, object, Remedy::Delete));
            }
            None if desired.is_remnant(layout, name) => {
                if !returns_through(layout, observed, name) {
                    drift.push(found(DriftKind::Surplus, object, Remedy::Delete));
                }
            }
            None if desired.is_orphan(layout, present) => {
                drift.push(found(DriftKind::Orphan, object, Remedy::Report));
            }
            None if desired.is_idle_wait(layout, name) => {}
            None => drift.push(found(DriftKind::Surplus, object, Remedy::Report)),
        }
    }
}

/// Whether a queue of parked messages may still get an event: a wait queue of its bus is there,
/// whose events return to no queue.
fn returns_through(layout: &Layout, observed: &Topology, parked: &str) -> bool {
    let Some(ObjectName::Parked { bus }) = layout.read(parked) else { return false };
    observed.queues.keys().any(|name| layout.is_wait(&bus, name))
}

fn bindings(layout: &Layout, desired: &Desired, observed: &Topology, drift: &mut Vec<Drift>) {
    let blocked = |name: &String| {
        let exchange = observed.exchanges.get(name).map(|e| &e.arguments);
        let queue = observed.queues.get(name).map(|q| &q.arguments);
        queue.or(exchange).is_some_and(|arguments| !layout.owns(name, arguments))
    };
    for binding in &desired.topology.bindings {
        // A foreign queue is not bound: its owner did not ask for our events.
        if !observed.bindings.contains(binding) && !blocked(&binding.destination) {
            drift.push(missing(Object::Binding(binding.clone()), Remedy::Bind));
        }
    }
    for binding in &observed.bindings {
        if desired.topology.bindings.contains(binding) || desired.permitted.contains(binding) {
            continue;
        }
        let Some(queue) = observed.queues.get(&binding.destination) else { continue };
        let to_us = binding.destination_kind == Destination::Queue
            && layout.owns(&queue.name, &queue.arguments)
            && !layout.is_node_queue(queue)
            && !desired.is_idle_wait(layout, &queue.name)
            && !desired.is_remnant(layout, &queue.name)
            && !desired.is_orphan(layout, queue);
        // A foreign queue may be bound to our exchanges, and an orphan stays bound: neither is
        // drift of the binding.
        if !to_us {
            continue;
        }
        let from_us = layout.has_prefix(&binding.source) && !blocked(&binding.source)
            || desired.is_attached(&binding.source);
        let works = desired.topology.queues.contains_key(&queue.name);
        let object = Object::Binding(binding.clone());
        drift.push(match (from_us, works) {
            (true, false) => found(DriftKind::Surplus, object, Remedy::Unbind),
            (true, true) => found(DriftKind::Surplus, object, Remedy::Report),
            (false, _) => found(DriftKind::Foreign, object, Remedy::Report),
        });
    }
}

fn same_exchange(expected: &Exchange, found: &Exchange) -> bool {
    expected.kind == found.kind
        && expected.durable == found.durable
        && expected.auto_delete == found.auto_delete
        && expected.internal == found.internal
        && same_arguments(&expected.arguments, &found.arguments)
}

fn same_queue(expected: &Queue, found: &Queue) -> bool {
    expected.durable == found.durable
        && expected.auto_delete == found.auto_delete
        && expected.exclusive == found.exclusive
        && same_arguments(&expected.arguments, &found.arguments)
}

/// Arguments agree when all arguments that RabbitMQ acts on are equal. RabbitMQ stores any other
/// argument without a meaning, so an unknown argument is a note of its owner. A queue without
/// `x-queue-type` is `classic`.
fn same_arguments(expected: &Arguments, found: &Arguments) -> bool {
    let acts = |name: &str| {
        name.starts_with("x-") && !name.starts_with("x-hearken-") || name == "alternate-exchange"
    };
    let classic = |(name, value): &(&String, &Argument)| {
        name.as_str() == "x-queue-type" && **value == "classic".into()
    };
    let relevant = |arguments: &Arguments| -> Arguments {
        let kept = arguments.iter().filter(|(name, _)| acts(name)).filter(|pair| !classic(pair));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    relevant(expected) == relevant(found)
}
