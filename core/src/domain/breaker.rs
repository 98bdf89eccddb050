//! The breaker: conditions under which a broker looks so wrong that hearken repairs nothing.
//!
//! A wrong virtual host, a wiped broker and a restored backup all look like a large amount of
//! drift. Repairing would then build a second topology beside the right one. So repair stops until
//! an administrator says `rebuild`.

use super::{
    desired::Desired,
    drift::{Drift, DriftKind, Object},
    layout::Layout,
    repair::LastSeen,
    roster::OrphanDecision,
};
use std::collections::BTreeSet;
use uuid::Uuid;

/// Losses or surplus objects up to this number never block repair, however small the topology is.
const TOLERATED: usize = 10;

/// Reason why repair is blocked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blockage {
    /// The marker exchange names another cluster, or no cluster that can be read.
    #[error(
        "exchange {marker} belongs to {}, not to this cluster ({ours}): check the virtual host in --amqp-url, or start a cluster with an empty database and another --prefix; if the database of that cluster is lost, hearken adopt takes its queues over",
        found.map_or("another program".to_owned(), |found| format!("cluster {found}"))
    )]
    AnotherCluster {
        /// Name of the marker exchange.
        marker: String,
        /// Cluster that the marker names.
        found: Option<Uuid>,
        /// This cluster.
        ours: Uuid,
    },
    /// The marker exchange was there once and is gone.
    #[error(
        "exchange {0} is gone: this may be the wrong virtual host, or a wiped broker; if it is the right broker, POST /topology?action=rebuild goes on"
    )]
    MarkerGone(String),
    /// Too many of our objects are gone.
    #[error(
        "{lost} of {owned} objects are gone: this may be the wrong virtual host, or a wiped or restored broker; if it is the right broker, POST /topology?action=rebuild goes on"
    )]
    MassLoss {
        /// Number of objects that are gone.
        lost: usize,
        /// Number of objects that the broker was last seen to hold.
        owned: usize,
    },
    /// The broker has too many objects that carry our marker and that the log does not ask for.
    #[error(
        "{surplus} objects carry the marker of this cluster and the log does not ask for them, beside {owned} that it asks for: the database may have been restored from before they were made; if the log is right, hearken adopt says so, and passes go on"
    )]
    MassSurplus {
        /// Number of objects that the log does not ask for.
        surplus: usize,
        /// Number of objects that the broker was last seen to hold.
        owned: usize,
    },
    /// The marker exchange names a layout that this program does not know.
    #[error(
        "exchange {marker} says that a newer hearken laid out this virtual host (layout {found}; this program knows {known}): upgrade this node"
    )]
    NewerLayout {
        /// Name of the marker exchange.
        marker: String,
        /// Version of the layout that the marker names.
        found: i64,
        /// Version of the layout that this program knows.
        known: i64,
    },
}

/// Counts the losses and the surplus that no change of the roster explains, and refuses a mass of
/// either.
///
/// An object that hangs on another missing object is not a loss of its own: a deleted exchange
/// takes its bindings with it.
///
/// # Errors
/// [`Blockage::MassLoss`] or [`Blockage::MassSurplus`] when more than ten objects, and more than a
/// fifth of what the broker was last seen to hold, are gone or are
/// surplus.
pub fn check_drift(
    layout: &Layout,
    desired: &Desired,
    last_seen: &LastSeen,
    drift: &[Drift],
) -> Result<(), Blockage> {
    let owned = last_seen.desired.topology.len();
    let missing: BTreeSet<&str> = drift.iter().filter_map(missing_name).collect();
    let is_lost = |drift: &&Drift| {
        drift.kind == DriftKind::Missing
            && last_seen.held(drift.object())
            && !hangs_on(drift.object(), &missing, desired)
    };
    let lost = drift.iter().filter(is_lost).count();
    if is_mass(owned, lost) {
        return Err(Blockage::MassLoss { lost, owned });
    }
    let is_surplus = |drift: &&Drift| match drift.kind {
        DriftKind::Orphan => was_made_by_this_log(layout, drift.object()),
        DriftKind::Surplus => {
            drift.is_repairable()
                && !last_seen.asks_for(drift)
                && !is_released(drift.object(), desired)
        }
        DriftKind::Missing | DriftKind::Divergent | DriftKind::Foreign => false,
    };
    let surplus = drift.iter().filter(is_surplus).count();
    if is_mass(owned, surplus) {
        return Err(Blockage::MassSurplus { surplus, owned });
    }
    Ok(())
}

/// Name of a missing exchange or queue.
fn missing_name(drift: &Drift) -> Option<&str> {
    match (drift.kind, drift.object()) {
        (DriftKind::Missing, Object::Exchange(exchange)) => Some(&exchange.name),
        (DriftKind::Missing, Object::Queue(queue)) => Some(&queue.name),
        _ => None,
    }
}

/// Whether the object is a binding that went with a missing object, or with the exchange of an
/// attached bus, which its owner may delete.
fn hangs_on(object: &Object, missing: &BTreeSet<&str>, desired: &Desired) -> bool {
    match object {
        Object::Binding(binding) => {
            missing.contains(binding.source.as_str())
                || missing.contains(binding.destination.as_str())
                || desired.is_attached(&binding.source)
        }
        Object::Exchange(_) | Object::Queue(_) => false,
    }
}

/// Whether the object is a queue that this log made. The queues of a former log are expected: an
/// operator has adopted this log since.
fn was_made_by_this_log(layout: &Layout, object: &Object) -> bool {
    matches!(object, Object::Queue(queue) if layout.made_at(queue).is_some())
}

/// Whether the object is a binding of an orphan that an administrator released.
fn is_released(object: &Object, desired: &Desired) -> bool {
    match object {
        Object::Binding(binding) => {
            desired.orphan_decision(&binding.destination) == Some(OrphanDecision::Released)
        }
        Object::Exchange(_) | Object::Queue(_) => false,
    }
}

/// Whether the number is more than ten, and more than a fifth of all objects. The broker is then
/// more likely the wrong broker, or wiped or restored, than drifted.
fn is_mass(owned: usize, number: usize) -> bool {
    number > TOLERATED && number * 5 > owned
}

#[cfg(test)]
mod tests;
