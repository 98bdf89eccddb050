//! One pass: compare, repair, read back, report.

use super::{Parts, PassError, apply::apply, intent::Intent, sighting::Sightings};
use crate::{
    broker::{BrokerError, Marker},
    clock,
    domain::{
        breaker::{self, Blockage},
        command::Pending,
        deletion::QuietQueues,
        drift::{self, Drift},
        plan::{Action, Step},
        repair::{Comparison, Occasion, RepairChoice},
        report::{StepRecord, TopologyState},
        roster::Roster,
        topology::Topology,
    },
    error_chain::error_chain,
    store::{HeldLock, Lock},
};
use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

/// The pause before a queue on its way out is looked at again, while it is quiet and its deletion
/// comes due.
const LOOK_AGAIN: Duration = Duration::from_secs(3);

/// The pause while it is still worked on, which may be for ever where no node knows its class.
const LOOK_LATER: Duration = Duration::from_secs(10);

/// What a pass did.
pub(super) struct Ended {
    /// The steps, with their outcomes.
    pub(super) records: Vec<StepRecord>,
    /// When to look again, where that is sooner than the interval.
    pub(super) again: Option<Duration>,
    /// How the topology is.
    pub(super) state: TopologyState,
}

/// What a pass saw at its end: what still differs, the failure of a step, and when to look again.
type Seen = (Vec<Drift>, Option<BrokerError>, Option<Duration>);

/// The state that passes of one process share. Losing it costs a second look, nothing else.
pub(super) struct Passes {
    pub(super) parts: Arc<Parts>,
    pub(super) sightings: Sightings,
    pub(super) quiet: QuietQueues,
    /// Names under our prefix that are not ours, as last seen. The accelerator does not look, so
    /// it needs to know where not to go; before the first observation it does nothing.
    pub(super) foreign: Option<BTreeSet<String>>,
    /// The roster at the reconciled version, so that it is not folded again for each pass.
    pub(super) applied: Option<Arc<Roster>>,
}

impl Passes {
    pub(super) fn new(parts: Arc<Parts>) -> Self {
        Self {
            parts,
            sightings: Sightings::default(),
            quiet: QuietQueues::default(),
            foreign: None,
            applied: None,
        }
    }

    /// Makes one pass under the lock.
    pub(super) async fn pass(&mut self, occasion: Occasion) -> Result<Ended, PassError> {
        let Some(mut lock) = self.parts.store.try_lock(Lock::Passes).await? else {
            return Err(PassError::Busy);
        };
        let started = clock::now();
        let mut intent = self.load(occasion).await?;
        let mut records = Vec::new();
        let result = self.look_and_repair(&mut intent, &mut lock, occasion, &mut records).await;
        // The steps that were done are recorded, also when the pass failed after them.
        self.record(&intent, started, &records).await?;
        match result {
            Ok((drift, failure, again)) => {
                let said = failure.as_ref().map(|error| error_chain(error));
                let state = self.save(&intent, &drift, said).await?;
                match failure.filter(BrokerError::is_transient) {
                    Some(error) => Err(error.into()),
                    None => Ok(Ended { records, again, state }),
                }
            }
            Err(error) => {
                self.save_failure(&intent, &error).await;
                Err(error)
            }
        }
    }

    async fn look_and_repair(
        &mut self,
        intent: &mut Intent,
        lock: &mut HeldLock,
        occasion: Occasion,
        records: &mut Vec<StepRecord>,
    ) -> Result<Seen, PassError> {
        self.check_marker(occasion).await?;
        let observed = self.accelerate(intent, lock, records).await?;
        let layout = self.parts.roster.layout().clone();
        let comparison = Comparison::new(&layout, &intent.desired, &observed);
        self.sightings.note(comparison.drift(), Instant::now(), clock::now());
        if occasion != Occasion::Rebuild {
            breaker::check_losses(&intent.desired, &intent.baseline, comparison.drift())?;
        }
        self.retire_absent(intent, &observed).await?;
        let believed = self.sightings.believed(Instant::now());
        let repair = comparison.repair(match occasion {
            Occasion::Reconcile | Occasion::Rebuild => RepairChoice::Everything,
            Occasion::Routine => RepairChoice::Routine {
                mode: self.parts.mode,
                baseline: &intent.baseline,
                believed: &believed,
            },
        })?;
        let mut drift = comparison.into_drift();
        let mut again = repair.unconfirmed.then_some(super::sighting::CONFIRM);
        let (steps, deletes) = (repair.plan.changes(), repair.plan.deletions());
        hold(lock, &steps).await?;
        let applied = apply(&*self.parts.broker, &self.parts.metrics, &steps).await;
        let mut touched = applied.touched();
        let mut failure = applied.failure;
        records.extend(applied.records);
        if !deletes.is_empty() && failure.is_none() {
            let ended = self.delete(intent, lock, &deletes).await;
            touched |= ended.touched();
            records.extend(ended.records);
            failure = ended.failure;
            let pause = if self.quiet.any() { LOOK_AGAIN } else { LOOK_LATER };
            again = again.or(Some(pause));
        }
        if touched {
            let observed = self.parts.broker.observe().await?;
            drift = drift::between(&layout, &intent.desired, &observed);
            self.sightings.note(&drift, Instant::now(), clock::now());
        }
        Ok((drift, failure, again))
    }

    /// Is this the broker we think it is?
    async fn check_marker(&self, occasion: Occasion) -> Result<(), PassError> {
        let Parts { store, broker, roster, .. } = &*self.parts;
        let marker = roster.layout().marker();
        match broker.marker().await? {
            Marker::Cluster(Some(cluster)) if cluster == roster.layout().cluster => Ok(()),
            Marker::Cluster(found) => {
                let ours = roster.layout().cluster;
                Err(Blockage::AnotherCluster { marker, found, ours }.into())
            }
            Marker::Absent if occasion == Occasion::Rebuild || !store.marker_made().await? => {
                Ok(())
            }
            Marker::Absent => Err(Blockage::MarkerGone(marker).into()),
        }
    }

    /// A tombstone whose queue is not there has nothing left to do.
    async fn retire_absent(
        &mut self,
        intent: &Intent,
        observed: &Topology,
    ) -> Result<(), PassError> {
        for (queue, fate) in &intent.desired.fates {
            let gone = fate.pending != Pending::Keep && !observed.queues.contains_key(queue);
            // A queue that cannot be asked about is left for a later pass.
            if gone && matches!(self.parts.broker.depth(queue).await, Ok(None)) {
                self.quiet.forget(queue);
                self.parts.store.retire(&fate.id, 0).await?;
                self.parts.bus.wake();
            }
        }
        Ok(())
    }
}

/// A node that was paused may have lost the lock to another. Declaring twice does no harm; what
/// takes something away must not be done on an old plan.
pub(super) async fn hold(lock: &mut HeldLock, steps: &[Step]) -> Result<(), PassError> {
    let takes = steps.iter().any(|step| matches!(step.action, Action::Unbind(_)));
    if takes && !lock.still_held().await {
        return Err(PassError::Busy);
    }
    Ok(())
}
