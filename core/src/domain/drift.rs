//! Differences between the topology that the broker holds and the topology that it should hold.
//!
//! Drift is computed from two whole topologies and from nothing else. It does not depend on the
//! command or event that caused it: that knowledge is lost on a restart, and the comparison must
//! give the same result afterwards.

mod compare;

pub use compare::between;

use super::topology::{Binding, Exchange, Queue};
use serde::{Deserialize, Serialize};

/// The way in which the desired and the observed topology differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftKind {
    /// The object is desired, and the broker does not have it.
    Missing,
    /// The broker has the object, this cluster made it, and it is not desired.
    Surplus,
    /// The broker has the object with other properties than desired. RabbitMQ refuses to change
    /// them in place.
    Divergent,
    /// The object has our prefix, and this cluster did not make it. It is never touched.
    Foreign,
    /// The queue carries our marker, and the log neither configures it nor has a tombstone for it.
    /// The log may be older than the broker, as after a restore of the database, so the queue stays
    /// bound until an administrator decides.
    Orphan,
}

/// Kind of a topology object.
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

/// Repair of a drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Remedy {
    /// Declare the object. A pass does it without being asked.
    Declare,
    /// Add the binding. A pass does it without being asked.
    Bind,
    /// Remove the binding. A pass does it without being asked.
    Unbind,
    /// Delete the queue, as its tombstone says, once no event is lost that must be kept.
    Delete,
    /// Replace the queue by its next generation. Done when an administrator asks.
    Migrate,
    /// Only report the drift. An administrator decides.
    Report,
}

/// Topology object, desired or observed.
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
    /// Kind of the object.
    #[must_use]
    pub fn kind(&self) -> ObjectKind {
        match self {
            Self::Exchange(_) => ObjectKind::Exchange,
            Self::Queue(_) => ObjectKind::Queue,
            Self::Binding(_) => ObjectKind::Binding,
        }
    }

    /// Name of the object. The name of a binding is `source -> destination [key]`.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Exchange(exchange) => exchange.name.clone(),
            Self::Queue(queue) => queue.name.clone(),
            Self::Binding(binding) => binding.to_string(),
        }
    }
}

/// One difference between the desired and the observed topology.
///
/// Each kind calls for its own repair. A queue with the right name and the wrong arguments is
/// [`DriftKind::Divergent`], and not a missing and a surplus queue: RabbitMQ refuses to redeclare
/// the queue, so it is drained and replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drift {
    /// The way in which the topologies differ.
    pub kind: DriftKind,
    /// The desired object, if there is one.
    pub expected: Option<Object>,
    /// The observed object, if there is one.
    pub found: Option<Object>,
    /// Repair of the drift.
    pub remedy: Remedy,
}

/// Identity of a drift across observations.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DriftKey {
    /// The way in which the topologies differ.
    pub kind: DriftKind,
    /// Kind of the object.
    pub object: ObjectKind,
    /// Name of the object.
    pub name: String,
}

impl Drift {
    /// The observed object; the desired object if none is observed.
    ///
    /// # Panics
    /// Never: a drift has an observed or a desired object.
    #[must_use]
    pub fn object(&self) -> &Object {
        self.found
            .as_ref()
            .or(self.expected.as_ref())
            .expect("a drift has an observed or a desired object")
    }

    /// Identity of the drift across observations.
    #[must_use]
    pub fn key(&self) -> DriftKey {
        let object = self.object();
        DriftKey { kind: self.kind, object: object.kind(), name: object.name() }
    }

    /// Whether a pass may repair the drift without an administrator's decision about this object.
    #[must_use]
    pub fn is_repairable(&self) -> bool {
        !matches!(self.remedy, Remedy::Report | Remedy::Migrate)
    }

    /// Whether the drift makes the topology wrong. A foreign object beside ours, and the queue of a
    /// removed listener that waits for its deletion, are reported and are not wrong.
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        match self.kind {
            DriftKind::Foreign => self.expected.is_some(),
            _ => self.remedy != Remedy::Delete,
        }
    }
}

#[cfg(test)]
mod tests;
