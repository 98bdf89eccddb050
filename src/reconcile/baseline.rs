//! What the broker was last seen to hold.

use super::{context::ReconcileContext, memory::Memory, situation::Situation};
use crate::{
    domain::{
        desired::desired,
        event::Version,
        repair::{LastSeen, Occasion},
        report::{DriftReport, TopologyStatus},
        roster::Roster,
    },
    store::StoreError,
};
use std::sync::Arc;

/// Result of the last pass of any node.
pub(super) struct Baseline {
    /// Status that the last pass stored.
    pub(super) status: TopologyStatus,
    /// What the broker was last seen to hold. Empty before the first pass of a new cluster, and for
    /// a rebuild.
    pub(super) last_seen: LastSeen,
    /// Whether the broker's marker was ever declared for this cluster.
    pub(super) marker_made: bool,
}

impl Baseline {
    /// Computes the topology of the version that the status names.
    pub(super) async fn load(
        context: &ReconcileContext,
        memory: &mut Memory,
        situation: &Situation,
        occasion: Occasion,
    ) -> Result<Self, StoreError> {
        let Situation { intent, status, marker_made } = situation;
        let (status, marker_made) = (status.clone(), *marker_made);
        if occasion == Occasion::Rebuild || !marker_made {
            return Ok(Self { status, last_seen: LastSeen::default(), marker_made });
        }
        let roster = roster_at(context, memory, status.reconciled_version, &intent.roster).await?;
        // A bus that another node brought since then is a change to make, not a loss.
        let mut buses = (*intent.buses).clone();
        if let Some(followed) = &status.buses {
            buses.retain(|name, _| followed.contains(name));
        }
        let layout = context.roster.layout_at(&roster);
        let desired = desired(&layout, &buses, &roster, &intent.retired);
        let unfinished = status.drift.iter().filter(|drift| drift.unfinished);
        let unfinished = unfinished.map(DriftReport::key).collect();
        Ok(Self { last_seen: LastSeen { desired, unfinished }, status, marker_made })
    }
}

/// The roster at a version. Folds the log only when neither the current roster nor the remembered
/// roster has this version.
async fn roster_at(
    context: &ReconcileContext,
    memory: &mut Memory,
    version: Version,
    current: &Arc<Roster>,
) -> Result<Arc<Roster>, StoreError> {
    if version >= current.version() {
        return Ok(Arc::clone(current));
    }
    if let Some(known) = memory.roster_at(version) {
        return Ok(known);
    }
    let folded = context.roster.at(version).await?;
    let folded = Arc::new(folded.unwrap_or_else(|| context.roster.start()));
    memory.remember_roster(&folded);
    Ok(folded)
}
