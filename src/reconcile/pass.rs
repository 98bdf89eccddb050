//! One pass: compare, repair, read back, report.

use super::{Parts, PassError, apply::apply, deletion::Evidence, sighting::Sightings, work::Work};
use crate::{
    broker::{BrokerError, Marker},
    clock,
    domain::repair::RepairMode,
    domain::{
        command::Pending,
        drift::{self, Drift, DriftKind, Object, Remedy},
        plan::{self, Action, Step},
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

/// What an administrator asked of a pass; nothing, for one that a timer or the tail woke.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Ask {
    /// Somebody asked for this pass: what was seen once is enough, also in manual mode.
    pub(super) explicit: bool,
    /// Go on although so much is gone.
    pub(super) rebuild: bool,
}

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
    pub(super) evidence: Evidence,
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
            evidence: Evidence::default(),
            foreign: None,
            applied: None,
        }
    }

    /// Makes one pass under the lock.
    pub(super) async fn pass(&mut self, ask: Ask) -> Result<Ended, PassError> {
        let Some(mut lock) = self.parts.store.try_lock(Lock::Passes).await? else {
            return Err(PassError::Busy);
        };
        let started = clock::now();
        let mut work = self.load(ask).await?;
        let mut records = Vec::new();
        let result = self.look_and_repair(&mut work, &mut lock, ask, &mut records).await;
        // What was done is told whatever came after it.
        self.record(&work, started, &records).await?;
        match result {
            Ok((drift, failure, again)) => {
                let said = failure.as_ref().map(|error| error_chain(error));
                let state = self.save(&work, &drift, said).await?;
                match failure.filter(BrokerError::is_transient) {
                    Some(error) => Err(error.into()),
                    None => Ok(Ended { records, again, state }),
                }
            }
            Err(error) => {
                self.save_failure(&work, &error).await;
                Err(error)
            }
        }
    }

    async fn look_and_repair(
        &mut self,
        work: &mut Work,
        lock: &mut HeldLock,
        ask: Ask,
        records: &mut Vec<StepRecord>,
    ) -> Result<Seen, PassError> {
        self.check_marker(ask).await?;
        let mut observed = self.follow(work, lock, records).await?;
        let layout = self.parts.roster.layout().clone();
        let mut drift = drift::between(&layout, &work.desired, &observed);
        self.sightings.note(&drift, Instant::now(), clock::now());
        check_loss(work, &drift, ask)?;
        self.retire_absent(work, &observed).await?;

        let chosen: Vec<Drift> =
            drift.iter().filter(|drift| self.repairs(work, drift, ask)).cloned().collect();
        let unsure = drift.iter().any(|d| d.is_wrong() && is_repairable(d) && !chosen.contains(d));
        let mut again =
            (unsure && self.parts.mode == RepairMode::Auto).then_some(super::sighting::CONFIRM);
        let plan = plan::from_drift(&chosen, &work.desired).without_stranding(
            &layout,
            &work.desired,
            &observed.bindings,
        );
        plan::check(&plan, &layout, &work.desired, &observed).map_err(PassError::Defect)?;
        let (deletes, steps): (Vec<Step>, Vec<Step>) = plan
            .steps
            .into_iter()
            .filter(|step| !matches!(step.action, Action::Report(_)))
            .partition(|step| matches!(step.action, Action::DeleteQueue(_)));
        hold(lock, &steps).await?;
        let applied = apply(&*self.parts.broker, &self.parts.metrics, &steps).await;
        let mut touched = applied.touched();
        let mut failure = applied.failure;
        records.extend(applied.records);
        if !deletes.is_empty() && failure.is_none() {
            let ended = self.delete(work, lock, &deletes).await;
            touched |= ended.touched();
            records.extend(ended.records);
            failure = ended.failure;
            let pause = if self.evidence.any() { LOOK_AGAIN } else { LOOK_LATER };
            again = again.or(Some(pause));
        }
        if touched {
            observed = self.parts.broker.observe().await?;
            drift = drift::between(&layout, &work.desired, &observed);
            self.sightings.note(&drift, Instant::now(), clock::now());
        }
        Ok((drift, failure, again))
    }

    /// Is this the broker we think it is?
    async fn check_marker(&self, ask: Ask) -> Result<(), PassError> {
        let Parts { store, broker, roster, .. } = &*self.parts;
        let marker = roster.layout().marker();
        match broker.marker().await? {
            Marker::Cluster(Some(cluster)) if cluster == roster.layout().cluster => Ok(()),
            Marker::Cluster(other) => Err(PassError::Blocked(format!(
                "exchange {marker} belongs to {}, not to this cluster ({}): check the virtual host \
                 in --amqp-url, or choose another --prefix",
                other.map_or("somebody else".to_owned(), |other| format!("cluster {other}")),
                roster.layout().cluster
            ))),
            Marker::Absent if ask.rebuild || !store.marker_made().await? => Ok(()),
            Marker::Absent => Err(PassError::Blocked(format!(
                "exchange {marker} is gone: this may be the wrong virtual host, or a wiped broker; \
                 if it is the right one, POST /topology?action=rebuild goes on"
            ))),
        }
    }

    /// A tombstone whose queue is not there has nothing left to do.
    async fn retire_absent(&mut self, work: &Work, observed: &Topology) -> Result<(), PassError> {
        for (queue, fate) in &work.desired.fates {
            let gone = fate.pending != Pending::Keep && !observed.queues.contains_key(queue);
            // A queue that cannot be asked about is left for a later pass.
            if gone && matches!(self.parts.broker.depth(queue).await, Ok(None)) {
                self.evidence.forget(queue);
                self.parts.store.retire(&fate.id, 0).await?;
                self.parts.bus.wake();
            }
        }
        Ok(())
    }

    fn repairs(&self, work: &Work, drift: &Drift, ask: Ask) -> bool {
        if !is_repairable(drift) {
            return false;
        }
        work.asked_for(drift)
            || ask.explicit
            || (self.parts.mode == RepairMode::Auto
                && self.sightings.believed(drift, Instant::now()))
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

/// Whether the reconciler mends it without a special request.
pub(super) fn is_repairable(drift: &Drift) -> bool {
    !matches!(drift.remedy, Remedy::Report | Remedy::Migrate)
}

/// Stops when so much is gone that this is more likely the wrong broker than drift.
fn check_loss(work: &Work, drift: &[Drift], ask: Ask) -> Result<(), PassError> {
    // The exchange of an attached bus is not ours to keep, and takes our bindings with it.
    let attached = |drift: &Drift| matches!(drift.object(), Object::Binding(binding) if work.desired.is_attached(&binding.source));
    let lost = drift.iter().filter(|d| d.kind == DriftKind::Missing && work.in_baseline(d));
    let lost = lost.filter(|drift| !attached(drift)).count();
    let owned = work.baseline.topology.len();
    if ask.rebuild || !drift::is_mass_loss(owned, lost) {
        return Ok(());
    }
    Err(PassError::Blocked(format!(
        "{lost} of {owned} objects are gone: this may be the wrong virtual host, or a wiped or \
         restored broker; if it is the right one, POST /topology?action=rebuild goes on"
    )))
}
