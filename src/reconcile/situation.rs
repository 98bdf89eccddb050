//! What a pass, a dry run or a look starts from.

use super::{context::ReconcileContext, intent::Intent};
use crate::{
    domain::{desired::desired, report::TopologyStatus, roster::Roster},
    store::{Lease, StoreError, TopologySnapshot},
};
use std::sync::Arc;

/// What the roster asks for, and what the last pass left.
pub(super) struct Situation {
    /// What the roster asks for.
    pub(super) intent: Intent,
    /// Status that the last pass stored.
    pub(super) status: TopologyStatus,
    /// Whether the broker's marker was ever declared for this cluster.
    pub(super) marker_made: bool,
}

impl Situation {
    /// Reads the situation as the database has it now.
    pub(super) async fn load(context: &ReconcileContext) -> Result<Self, StoreError> {
        let roster = context.roster.current().await?;
        let snapshot = context.store.topology_snapshot().await?;
        Ok(Self::new(context, roster, snapshot))
    }

    /// Reads the situation for a pass. Refuses servers that are older than the pass's lease.
    pub(super) async fn load_under(
        context: &ReconcileContext,
        lease: &Lease,
    ) -> Result<Self, StoreError> {
        let roster = context.roster.current().await?;
        let snapshot = context.store.topology_snapshot().await?;
        lease.check_read(roster.version(), &snapshot)?;
        Ok(Self::new(context, roster, snapshot))
    }

    fn new(context: &ReconcileContext, roster: Arc<Roster>, snapshot: TopologySnapshot) -> Self {
        let TopologySnapshot { status, marker_made, retired, .. } = snapshot;
        let buses = Arc::clone(roster.buses());
        let layout = context.roster.layout_at(&roster);
        let desired = desired(&layout, &buses, &roster, &retired);
        let intent = Intent { roster, buses, retired, desired };
        Self { intent, status, marker_made }
    }
}
