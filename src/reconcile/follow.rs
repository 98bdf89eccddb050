//! The accelerator: doing what the roster asks for before looking, and telling the nodes.

use super::{
    Parts, PassError,
    apply::apply,
    pass::{Passes, hold},
    work::Work,
};
use crate::store::HeldLock;
use crate::{
    broker::BrokerError,
    bus::TopologyChanged,
    domain::{
        desired::desired,
        layout::Layout,
        plan::{self, Action},
        report::StepRecord,
        topology::Topology,
    },
};
use std::{collections::BTreeSet, sync::Arc};

/// How often one pass follows a roster that changes while it looks.
const ROUNDS: usize = 16;

impl Passes {
    /// Applies what the roster asks for beyond what was applied, without looking; then looks. A
    /// version that arrives meanwhile is applied before anything is compared.
    pub(super) async fn follow(
        &mut self,
        work: &mut Work,
        lock: &mut HeldLock,
        records: &mut Vec<StepRecord>,
    ) -> Result<Topology, PassError> {
        let parts = Arc::clone(&self.parts);
        let layout = parts.roster.layout();
        let mut applied = work.baseline.clone();
        for _ in 0..ROUNDS {
            if let Some(foreign) = &self.foreign {
                let mut plan = plan::between(&applied, &work.desired);
                plan.steps.retain(|step| !touches(&step.action, foreign));
                let plan =
                    plan.without_stranding(layout, &work.desired, &applied.topology.bindings);
                plan::check(&plan, layout, &work.desired, &Topology::default()).or_else(
                    |violation| match violation {
                        // The binding leads from or to a foreign object: left out on purpose.
                        plan::Violation::Unbound { .. } => Ok(()),
                        violation => Err(PassError::Defect(violation)),
                    },
                )?;
                hold(lock, &plan.steps).await?;
                if !plan.steps.is_empty() {
                    let done = apply(&*parts.broker, &parts.metrics, &plan.steps).await;
                    if done.all_done() {
                        applied = work.desired.clone();
                    }
                    records.extend(done.records);
                    if let Some(error) = done.failure.filter(BrokerError::is_transient) {
                        return Err(error.into());
                    }
                    self.announce(work, records).await;
                }
            }
            let observed = parts.broker.observe().await?;
            self.foreign = Some(foreign_names(layout, &observed));
            let newer = parts.roster.current().await?;
            if newer.version() == work.roster.version() {
                return Ok(observed);
            }
            let retired = parts.store.retired().await?;
            work.desired = desired(layout, &work.buses, &newer, &retired);
            work.roster = newer;
        }
        // The roster changes faster than one look takes. What is seen now is judged by the next pass.
        Ok(parts.broker.observe().await?)
    }

    /// Tells every node, and the consumers of this one.
    pub(super) async fn announce(&self, work: &Work, records: &[StepRecord]) {
        let Parts { roster, bus, .. } = &*self.parts;
        bus.wake();
        let since = work.before.reconciled_version;
        for name in work.buses.keys() {
            let added: Vec<_> = (work.roster.listeners().values())
                .filter(|configured| configured.version > since && configured.listener.bus == *name)
                .map(|configured| configured.listener.group.clone())
                .collect();
            let removed: Vec<_> = (work.roster.tombstones().iter())
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
                let version = work.roster.version();
                bus.announce(&TopologyChanged { bus: name.clone(), version, added, removed }).await;
            }
        }
    }
}

fn foreign_names(layout: &Layout, observed: &Topology) -> BTreeSet<String> {
    let exchanges = observed.exchanges.values().map(|e| (&e.name, &e.arguments));
    let queues = observed.queues.values().map(|q| (&q.name, &q.arguments));
    let foreign = exchanges.chain(queues).filter(|(name, arguments)| !layout.owns(name, arguments));
    foreign.map(|(name, _)| name.clone()).collect()
}

fn touches(action: &Action, foreign: &BTreeSet<String>) -> bool {
    match action {
        Action::Bind(binding) | Action::Unbind(binding) => foreign.contains(&binding.destination),
        action => foreign.contains(&action.name()),
    }
}
