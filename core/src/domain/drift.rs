//! What the broker has, compared with what it ought to have.
//!
//! Drift is computed from two whole topologies and from nothing else. Which command or event
//! brought us here is never asked: that answer is lost on a restart, and the comparison must give
//! the same result afterwards.

use super::{
    command::Pending,
    desired::Desired,
    layout::{Layout, ObjectName},
    topology::{Arguments, Binding, Destination, Exchange, Queue, Topology},
};
use serde::{Deserialize, Serialize};

/// How observed and desired disagree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// Desired and not there.
    Missing,
    /// There, ours, and not desired.
    Surplus,
    /// There, ours, and not as desired. RabbitMQ refuses to change it in place.
    Divergent,
    /// There under our prefix and not ours. Never touched.
    Foreign,
}

/// The kind of object that drifted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// An exchange.
    Exchange,
    /// A queue.
    Queue,
    /// A binding.
    Binding,
}

/// What mends a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// Declare it. Done without asking.
    Declare,
    /// Bind it. Done without asking.
    Bind,
    /// Unbind it. Done without asking.
    Unbind,
    /// Delete the queue, as its tombstone says, once that loses nothing it should not.
    Delete,
    /// A new generation of the queue. Done on request.
    Migrate,
    /// An administrator decides.
    Report,
}

/// An object, desired or observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Object {
    /// An exchange.
    Exchange(Exchange),
    /// A queue.
    Queue(Queue),
    /// A binding.
    Binding(Binding),
}

impl Object {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Exchange(_) => ObjectKind::Exchange,
            Self::Queue(_) => ObjectKind::Queue,
            Self::Binding(_) => ObjectKind::Binding,
        }
    }

    /// Its name; a binding's is `source -> destination [key]`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Exchange(exchange) => exchange.name.clone(),
            Self::Queue(queue) => queue.name.clone(),
            Self::Binding(binding) => binding.to_string(),
        }
    }
}

/// One disagreement between the desired and the observed topology.
///
/// The kinds are what an operator can act on. A queue with the right name and the wrong arguments
/// is [`DriftKind::Divergent`], not a missing and a surplus one, because the remedy differs:
/// RabbitMQ refuses to redeclare it, so it has to be drained and replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// How they disagree.
    pub kind: DriftKind,
    /// What should be there, where something should.
    pub expected: Option<Object>,
    /// What is there, where something is.
    pub found: Option<Object>,
    /// What mends it.
    pub remedy: Remedy,
}

/// A drift's identity between two observations.
pub type DriftKey = (DriftKind, ObjectKind, String);

impl Drift {
    /// The object, as it is or as it should be.
    ///
    /// # Panics
    /// Never: a drift has one of the two.
    #[must_use]
    pub fn object(&self) -> &Object {
        self.found
            .as_ref()
            .or(self.expected.as_ref())
            .expect("a drift has something expected or found")
    }

    /// What identifies it between two observations.
    #[must_use]
    pub fn key(&self) -> DriftKey {
        (self.kind, self.object().kind(), self.object().name())
    }

    /// Whether the topology is wrong because of it. A foreign object beside ours and a removed
    /// listener's queue that is on its way out are shown, and are not wrong.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        match self.kind {
            DriftKind::Foreign => self.expected.is_some(),
            _ => self.remedy != Remedy::Delete,
        }
    }
}

/// Compares the topologies. Empty when they agree.
///
/// The result is ordered: exchanges, queues, bindings, each by name. The order means nothing to
/// the broker; it keeps logs and snapshots stable between passes.
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
        } else if !desired.is_idle_wait(layout, name) {
            drift.push(found(DriftKind::Surplus, object, Remedy::Report));
        }
    }
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
            None if desired.is_idle_wait(layout, name) => {}
            None => drift.push(found(DriftKind::Surplus, object, Remedy::Report)),
        }
    }
}

fn bindings(layout: &Layout, desired: &Desired, observed: &Topology, drift: &mut Vec<Drift>) {
    let blocked = |name: &String| {
        let exchange = observed.exchanges.get(name).map(|e| &e.arguments);
        let queue = observed.queues.get(name).map(|q| &q.arguments);
        queue.or(exchange).is_some_and(|arguments| !layout.owns(name, arguments))
    };
    for binding in &desired.topology.bindings {
        // A queue that is not ours is not bound: its owner did not ask for our events.
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
            && !desired.is_idle_wait(layout, &queue.name);
        // Somebody else's queue may listen to our exchanges: that is not drift.
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

/// Arguments agree when every one that RabbitMQ acts on does. It stores any other without a
/// meaning, so an unknown one is somebody's note; `x-queue-type` is `classic` where it is not said.
fn same_arguments(expected: &Arguments, found: &Arguments) -> bool {
    let acts = |name: &str| {
        name.starts_with("x-") && !name.starts_with("x-hearken-") || name == "alternate-exchange"
    };
    let classic = |(name, value): &(&String, &super::topology::Argument)| {
        name.as_str() == "x-queue-type" && **value == "classic".into()
    };
    let relevant = |arguments: &Arguments| -> Arguments {
        let kept = arguments.iter().filter(|(name, _)| acts(name)).filter(|pair| !classic(pair));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    relevant(expected) == relevant(found)
}

/// Whether so much of what was there is gone that the broker is more likely the wrong one, or
/// wiped, than drifted: more than a fifth, and more than ten objects.
#[must_use]
pub fn is_mass_loss(owned: usize, lost: usize) -> bool {
    lost > 10 && lost * 5 > owned
}

#[cfg(test)]
mod tests;
