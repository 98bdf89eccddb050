//! What a pass compares: the roster, what it asks for, and what the broker was last seen to follow.

use super::{PassError, pass::Passes};
use crate::domain::{
    bus::Buses,
    desired::{Desired, desired},
    drift::Drift,
    event::Version,
    repair::{Occasion, is_asked_for},
    report::TopologyStatus,
    roster::Roster,
};
use std::sync::Arc;

/// What one pass compares.
pub(super) struct Intent {
    pub(super) roster: Arc<Roster>,
    pub(super) desired: Desired,
    /// What the broker was last seen to follow: what is missing of it was lost, what is missing
    /// beyond it was never made.
    pub(super) baseline: Desired,
    pub(super) before: TopologyStatus,
    pub(super) buses: Arc<Buses>,
}

impl Intent {
    /// Whether repairing the drift makes a change that the roster asks for.
    pub(super) fn asked_for(&self, drift: &Drift) -> bool {
        is_asked_for(drift, &self.baseline)
    }
}

impl Passes {
    pub(super) async fn load(&mut self, occasion: Occasion) -> Result<Intent, PassError> {
        let parts = Arc::clone(&self.parts);
        let (store, service) = (&parts.store, &parts.roster);
        let before = store.topology_status().await?;
        let roster = service.current().await?;
        let applied = if occasion == Occasion::Rebuild || !store.marker_made().await? {
            None
        } else {
            Some(self.roster_at(before.reconciled_version, &roster).await?)
        };
        let retired = store.retired().await?;
        let buses = service.read_buses().await?;
        let layout = service.layout();
        // A bus that another node brought is work, not a loss.
        let mut followed = (*buses).clone();
        if let Some(before) = &before.buses {
            followed.retain(|name, _| before.contains(name));
        }
        let baseline = applied.map(|applied| desired(layout, &followed, &applied, &retired));
        let baseline = baseline.unwrap_or_default();
        let desired = desired(layout, &buses, &roster, &retired);
        Ok(Intent { roster, desired, baseline, before, buses })
    }

    pub(super) async fn roster_at(
        &mut self,
        version: Version,
        current: &Arc<Roster>,
    ) -> Result<Arc<Roster>, PassError> {
        if version >= current.version() {
            return Ok(Arc::clone(current));
        }
        if let Some(known) = self.applied.as_ref().filter(|known| known.version() == version) {
            return Ok(Arc::clone(known));
        }
        let folded = Arc::new(self.parts.roster.at(version).await?.unwrap_or_default());
        self.applied = Some(Arc::clone(&folded));
        Ok(folded)
    }
}
