//! The breaker: conditions under which a broker looks so wrong that hearken repairs nothing.
//!
//! A wrong virtual host, a wiped broker and a restored backup all look like a large amount of
//! drift. Repairing would then build a second topology beside the right one. So repair stops until
//! an administrator says `rebuild`.

use super::{
    desired::Desired,
    drift::{Drift, DriftKind, Object},
};
use uuid::Uuid;

/// Losses up to this number never block repair, however small the topology is.
const TOLERATED_LOSSES: usize = 10;

/// Reason why repair is blocked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blockage {
    /// The marker exchange names another cluster, or no cluster that can be read.
    #[error(
        "exchange {marker} belongs to {}, not to this cluster ({ours}): check the virtual host in --amqp-url, or choose another --prefix",
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
}

/// Counts the objects of the baseline that are gone, and refuses a mass loss. The baseline is what
/// the broker was last seen to hold.
///
/// # Errors
/// [`Blockage::MassLoss`] when more than ten objects, and more than a fifth of the baseline, are
/// gone.
pub fn check_losses(
    desired: &Desired,
    baseline: &Desired,
    drift: &[Drift],
) -> Result<(), Blockage> {
    // The owner of an attached bus may delete its exchange, which takes our bindings with it.
    let is_attached = |drift: &Drift| matches!(drift.object(), Object::Binding(binding) if desired.is_attached(&binding.source));
    let is_lost = |drift: &&Drift| {
        drift.kind == DriftKind::Missing && baseline.contains(drift.object()) && !is_attached(drift)
    };
    let lost = drift.iter().filter(is_lost).count();
    let owned = baseline.topology.len();
    if is_mass_loss(owned, lost) {
        return Err(Blockage::MassLoss { lost, owned });
    }
    Ok(())
}

/// Whether more than ten objects, and more than a fifth of all objects, are lost. This is then more
/// likely the wrong broker, or a wiped broker, than drift.
fn is_mass_loss(owned: usize, lost: usize) -> bool {
    lost > TOLERATED_LOSSES && lost * 5 > owned
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{drift::Remedy, topology::Binding};

    #[test]
    fn mass_loss_is_more_than_a_fifth_and_more_than_ten() {
        assert!(!is_mass_loss(20, 10));
        assert!(is_mass_loss(20, 11));
        assert!(!is_mass_loss(1000, 200));
        assert!(is_mass_loss(1000, 201));
    }

    fn missing(queue: &str) -> Drift {
        Drift {
            kind: DriftKind::Missing,
            expected: Some(Object::Binding(Binding::of_queue("x", queue, ""))),
            found: None,
            remedy: Remedy::Bind,
        }
    }

    #[test]
    fn only_an_object_that_was_there_before_counts_as_lost() {
        let names: Vec<_> = (0..30).map(|number| format!("q{number}")).collect();
        let drift: Vec<_> = names.iter().map(|name| missing(name)).collect();
        let mut baseline = Desired::default();
        assert_eq!(check_losses(&Desired::default(), &baseline, &drift), Ok(()));
        for name in &names {
            baseline.topology.bindings.insert(Binding::of_queue("x", name, ""));
        }
        assert_eq!(check_losses(&Desired::default(), &baseline, &drift[..10]), Ok(()));
        let refused = check_losses(&Desired::default(), &baseline, &drift[..11]);
        assert_eq!(refused, Err(Blockage::MassLoss { lost: 11, owned: 30 }));
    }
}
