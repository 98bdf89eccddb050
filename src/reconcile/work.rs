//! What a pass compares: the roster, what it asks for, and what the broker was last seen to follow.

use super::{
    PassError,
    pass::{Ask, Passes},
};
use crate::domain::{
    bus::Buses,
    desired::{Desired, desired},
    drift::{Drift, Object, Remedy},
    event::Version,
    report::TopologyStatus,
    roster::Roster,
};
use std::sync::Arc;

/// What one pass compares.
pub(super) struct Work {
    pub(super) roster: Arc<Roster>,
    pub(super) desired: Desired,
    /// What the broker was last seen to follow: what is missing of it was lost, what is missing
    /// beyond it was never made.
    pub(super) baseline: Desired,
    pub(super) before: TopologyStatus,
    pub(super) buses: Arc<Buses>,
}

impl Work {
    /// Whether the object was desired when the broker was last seen to follow.
    pub(super) fn in_baseline(&self, drift: &Drift) -> bool {
        let baseline = &self.baseline.topology;
        match drift.object() {
            Object::Exchange(exchange) => baseline.exchanges.contains_key(&exchange.name),
            Object::Queue(queue) => baseline.queues.contains_key(&queue.name),
            Object::Binding(binding) => baseline.bindings.contains(binding),
        }
    }

    /// Whether mending it is work that the roster asks for, and not the repair of a loss.
    pub(super) fn asked_for(&self, drift: &Drift) -> bool {
        match drift.remedy {
            Remedy::Delete => true,
            Remedy::Unbind => self.in_baseline(drift),
            _ => !self.in_baseline(drift),
        }
    }
}

impl Passes {
    pub(super) async fn load(&mut self, ask: Ask) -> Result<Work, PassError> {
        let parts = Arc::clone(&self.parts);
        let (store, service) = (&parts.store, &parts.roster);
        let before = store.topology_status().await?;
        let roster = service.current().await?;
        let applied = if ask.rebuild || !store.marker_made().await? {
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
        Ok(Work { roster, desired, baseline, before, buses })
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
