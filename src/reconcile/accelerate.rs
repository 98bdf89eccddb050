//! The accelerator: doing what the roster asks for before looking, and telling the nodes.

use super::{
    Parts, PassError,
    apply::apply,
    intent::Intent,
    pass::{Passes, hold},
};
use crate::store::HeldLock;
use crate::{
    broker::BrokerError,
    bus::TopologyChanged,
    domain::{desired::desired, repair, report::StepRecord, topology::Topology},
};
use std::sync::Arc;

/// How often one pass follows a roster that changes while it looks.
const ROUNDS: usize = 16;

impl Passes {
    /// Applies what the roster asks for beyond what was applied, without looking; then looks. A
    /// version that arrives meanwhile is applied before anything is compared.
    pub(super) async fn accelerate(
        &mut self,
        intent: &mut Intent,
        lock: &mut HeldLock,
        records: &mut Vec<StepRecord>,
    ) -> Result<Topology, PassError> {
        let parts = Arc::clone(&self.parts);
        let layout = parts.roster.layout();
        let mut applied = intent.baseline.clone();
        for _ in 0..ROUNDS {
            if let Some(foreign) = &self.foreign {
                let plan = repair::accelerate(layout, &applied, &intent.desired, foreign)?;
                hold(lock, &plan.steps).await?;
                if !plan.steps.is_empty() {
                    let done = apply(&*parts.broker, &parts.metrics, &plan.steps).await;
                    if done.all_done() {
                        applied = intent.desired.clone();
                    }
                    records.extend(done.records);
                    if let Some(error) = done.failure.filter(BrokerError::is_transient) {
                        return Err(error.into());
                    }
                    self.announce(intent, records).await;
                }
            }
            let observed = parts.broker.observe().await?;
            self.foreign = Some(repair::foreign_names(layout, &observed));
            let newer = parts.roster.current().await?;
            if newer.version() == intent.roster.version() {
                return Ok(observed);
            }
            let retired = parts.store.retired().await?;
            intent.desired = desired(layout, &intent.buses, &newer, &retired);
            intent.roster = newer;
        }
        // The roster changes faster than one look takes. What is seen now is judged by the next
        // pass.
        Ok(parts.broker.observe().await?)
    }

    /// Tells every node, and the consumers of this one.
    pub(super) async fn announce(&self, intent: &Intent, records: &[StepRecord]) {
        let Parts { roster, bus, .. } = &*self.parts;
        bus.wake();
        let since = intent.before.reconciled_version;
        for name in intent.buses.keys() {
            let added: Vec<_> = (intent.roster.listeners().values())
                .filter(|configured| configured.version > since && configured.listener.bus == *name)
                .map(|configured| configured.listener.group.clone())
                .collect();
            let removed: Vec<_> = (intent.roster.tombstones().iter())
                .filter(|(_, tombstone)| {
                    tombstone.version > since && tombstone.listener.bus == *name
                })
                .map(|(id, _)| id.group.clone())
                .collect();
            let prefix = roster.layout().main(name);
            // A binding is named by both of its ends; that of an attached bus starts elsewhere.
            let changed =
                records.iter().flat_map(|record| record.step.name.split(" -> ")).any(|end| {
                    let rest = end.strip_prefix(&prefix);
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', ' ']))
                });
            if changed {
                let version = intent.roster.version();
                bus.announce(&TopologyChanged { bus: name.clone(), version, added, removed }).await;
            }
        }
    }
}
