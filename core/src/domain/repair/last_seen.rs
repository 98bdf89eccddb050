//! What the broker was last seen to hold.

use crate::domain::{
    desired::Desired,
    drift::{Drift, DriftKey, DriftKind, Object, Remedy},
};
use std::collections::BTreeSet;

/// The topology that the last pass of any node compared the broker with, and the changes that the
/// pass could not make.
///
/// It tells a loss from a change: an object that is missing now was lost if the broker held it, and
/// was never made otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LastSeen {
    /// Topology that the last pass asked for. Empty before the first pass of a new cluster.
    pub desired: Desired,
    /// Drift that the last pass was asked to repair and left.
    pub unfinished: BTreeSet<DriftKey>,
}

impl LastSeen {
    /// Whether the broker held the object.
    #[must_use]
    pub fn held(&self, object: &Object) -> bool {
        let missing =
            DriftKey { kind: DriftKind::Missing, object: object.kind(), name: object.name() };
        self.desired.contains(object) && !self.unfinished.contains(&missing)
    }

    /// Whether repairing the drift makes a change that the roster asks for. Otherwise the repair
    /// undoes a loss, or a change that was made by hand.
    #[must_use]
    pub fn asks_for(&self, drift: &Drift) -> bool {
        self.unfinished.contains(&drift.key())
            || match drift.remedy {
                Remedy::Delete => true,
                Remedy::Unbind => self.desired.contains(drift.object()),
                Remedy::Declare | Remedy::Bind | Remedy::Migrate | Remedy::Report => {
                    !self.desired.contains(drift.object())
                }
            }
    }
}
