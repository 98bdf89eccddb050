//! What the broker was last seen to hold.

use super::{context::ReconcileContext, intent::Intent, memory::Memory};
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
}

impl Baseline {
    /// Reads the status, and computes the topology of the version that the status names.
    pub(super) async fn load(
        context: &ReconcileContext,
        memory: &mut Memory,
        intent: &Intent,
        occasion: Occasion,
    ) -> Result<Self, StoreError> {
        let status = context.store.topology_status().await?;
        if occasion == Occasion::Rebuild || !context.store.marker_made().await? {
            return Ok(Self { status, last_seen: LastSeen::default() });
        }
        let roster = roster_at(context, memory, status.reconciled_version, &intent.roster).await?;
        // A bus that another node brought since then is a change to make, not a loss.
        let mut buses = (*intent.buses).clone();
        if let Some(followed) = &status.buses {
            buses.retain(|name, _| followed.contains(name));
        }
        let desired = desired(context.roster.layout(), &buses, &roster, &intent.retired);
        let unfinished = status.drift.iter().filter(|drift| drift.unfinished);
        let unfinished = unfinished.map(DriftReport::key).collect();
        Ok(Self { last_seen: LastSeen { desired, unfinished }, status })
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
    let folded = Arc::new(context.roster.at(version).await?.unwrap_or_default());
    memory.remember_roster(&folded);
    Ok(folded)
}
