//! One pass, from the lease to the stored status. Read it from top to bottom.
//!
//! 1. Take the lease, and load what the roster asks for and what the broker was last seen to hold.
//! 2. Check that the broker that is read is the broker that is changed, and that the broker belongs
//!    to this cluster.
//! 3. Accelerate: apply what the roster asks for beyond the last pass, before the slow observation.
//! 4. Observe the broker, compare, and plan.
//! 5. Apply the plan: first the repairs, then the deletions that are due.
//! 6. Observe again what was changed.
//! 7. Store the record of the steps, and the status.

use super::{
    apply::{Applied, apply},
    baseline::Baseline,
    context::ReconcileContext,
    deletion,
    error::PassError,
    intent::Intent,
    memory::{CONFIRM, Memory},
    pass_lease::take_lease,
    recorder::PassRecorder,
    situation::Situation,
    status::{Findings, save_failure, save_status},
};
use crate::{
    broker::{BrokerError, Marker},
    domain::{
        breaker::{self, Blockage},
        command::Pending,
        drift::{self, Drift},
        layout::{LAYOUT_VERSION, Layout},
        plan::{Plan, Step},
        repair::{self, Comparison, Occasion, Repair, RepairChoice},
        report::StepRecord,
        topology::Topology,
    },
    store::Lease,
};
use std::time::Duration;

/// The most rounds in which one pass accelerates a roster that changes while the pass observes.
const ROUNDS: usize = 16;

/// Pause until the next pass while the queue of a removed listener is quiet, so that its deletion
/// comes due.
const WHILE_QUIET: Duration = Duration::from_secs(3);

/// Pause until the next pass while the queue of a removed listener still holds events, which may be
/// for ever if no node knows the class of the listener.
const WHILE_DRAINING: Duration = Duration::from_secs(10);

/// Result of a pass that ended.
pub(super) struct PassOutcome {
    /// The steps, with their outcomes.
    pub(super) steps: Vec<StepRecord>,
    /// Pause until the next pass, if it must be shorter than the interval.
    pub(super) next_pass: Option<Duration>,
}

/// Makes one pass under the lease.
pub(super) async fn make_pass(
    context: &ReconcileContext,
    memory: &mut Memory,
    occasion: Occasion,
) -> Result<PassOutcome, PassError> {
    let lease = take_lease(context).await?;
    let outcome = pass_under(context, memory, occasion, &lease).await;
    lease.release().await;
    outcome
}

/// Makes one pass. Everything that the pass writes to the database fails without the lease.
async fn pass_under(
    context: &ReconcileContext,
    memory: &mut Memory,
    occasion: Occasion,
    lease: &Lease,
) -> Result<PassOutcome, PassError> {
    let recorder = PassRecorder::start(context);
    let situation = Situation::load_under(context, lease).await?;
    let baseline = Baseline::load(context, memory, &situation, occasion).await?;
    let intent = situation.intent;
    let mut pass = Pass { context, memory, occasion, lease, recorder, intent, baseline };
    let findings = pass.observe_and_repair().await;
    // Applied steps are recorded also when the pass failed after them.
    pass.recorder.store(lease, pass.intent.roster.version()).await?;
    pass.end(findings).await
}

/// A pass on its way.
struct Pass<'a> {
    context: &'a ReconcileContext,
    memory: &'a mut Memory,
    occasion: Occasion,
    lease: &'a Lease,
    recorder: PassRecorder<'a>,
    intent: Intent,
    baseline: Baseline,
}

/// Drift of an observation, and the repair of the drift that this pass repairs.
struct PlannedRepair {
    drift: Vec<Drift>,
    repair: Repair,
}

impl Pass<'_> {
    /// Everything that a pass does on the broker.
    async fn observe_and_repair(&mut self) -> Result<Findings, PassError> {
        self.context.broker.check_undivided().await?;
        self.check_marker().await?;
        let observed = self.accelerate_and_observe().await?;
        let PlannedRepair { mut drift, repair } = self.compare_and_plan(&observed)?;
        self.retire_absent_queues(&observed).await?;
        let mut next_pass = repair.unconfirmed.then_some(CONFIRM);
        let mut applied = self.apply_changes(&repair.plan).await?;
        let deletions = repair.plan.deletions();
        if !deletions.is_empty() && applied.failure.is_none() {
            applied.extend(self.delete_what_is_due(&deletions).await);
            next_pass = next_pass.or(Some(self.pause_between_deletions()));
        }
        self.note(&applied).await;
        if applied.changed_the_broker() {
            drift = self.observe_again().await?;
        }
        let next_try = self.memory.setbacks().next_try(&self.context.clock);
        let next_pass = next_pass.into_iter().chain(next_try).min();
        Ok(Findings { drift, failure: applied.failure, next_pass })
    }

    fn layout(&self) -> &Layout {
        self.context.roster.layout()
    }

    /// Refuses a broker whose marker names another cluster or a newer layout, or whose marker is
    /// gone.
    async fn check_marker(&self) -> Result<(), PassError> {
        let (marker, ours) = (self.layout().marker(), self.layout().cluster);
        match self.context.broker.marker().await? {
            Marker::Present { layout: Some(found), .. } if found > LAYOUT_VERSION => {
                Err(Blockage::NewerLayout { marker, found, known: LAYOUT_VERSION }.into())
            }
            Marker::Present { cluster: Some(cluster), .. } if cluster == ours => Ok(()),
            Marker::Present { cluster: found, .. } => {
                Err(Blockage::AnotherCluster { marker, found, ours }.into())
            }
            Marker::Absent if self.occasion == Occasion::Rebuild => Ok(()),
            // The first pass of a new cluster makes the marker.
            Marker::Absent if !self.baseline.marker_made => Ok(()),
            Marker::Absent => Err(Blockage::MarkerGone(marker).into()),
        }
    }

    /// Applies what the roster asks for beyond the baseline, then observes the broker. The queue of
    /// a new listener needs a declare and two binds, however large the topology is. A version that
    /// arrives during the observation is applied before anything is compared.
    async fn accelerate_and_observe(&mut self) -> Result<Topology, PassError> {
        let mut applied = self.baseline.last_seen.desired.clone();
        for _ in 0..ROUNDS {
            if let Some(precautions) = self.memory.precautions() {
                let desired = &self.intent.desired;
                let plan = repair::accelerate(self.layout(), &applied, desired, precautions)?;
                let accelerated = self.apply_changes(&plan).await?;
                if accelerated.changed_the_broker() && accelerated.is_done() {
                    applied = self.intent.desired.clone();
                }
                self.note(&accelerated).await;
                if let Some(error) = accelerated.failure.filter(BrokerError::is_transient) {
                    return Err(error.into());
                }
            }
            let observed = self.observe().await?;
            let newest = self.context.roster.current().await?;
            if newest.version() == self.intent.roster.version() {
                return Ok(observed);
            }
            self.intent = Situation::load_under(self.context, self.lease).await?.intent;
        }
        // The roster changes faster than the broker can be observed. The next pass judges what
        // this pass sees now.
        self.observe().await
    }

    async fn observe(&mut self) -> Result<Topology, PassError> {
        let observed = self.context.broker.observe().await?;
        let layout = self.context.roster.layout();
        self.memory.note_observation(layout, &self.intent.desired, &observed);
        Ok(observed)
    }

    /// Compares the observation with the roster, refuses a broker that lost too much, and plans the
    /// repair.
    fn compare_and_plan(&mut self, observed: &Topology) -> Result<PlannedRepair, PassError> {
        let (layout, desired) = (self.context.roster.layout(), &self.intent.desired);
        let comparison = Comparison::new(layout, desired, observed);
        self.memory.note_drift(comparison.drift());
        if self.occasion != Occasion::Rebuild {
            let last_seen = &self.baseline.last_seen;
            breaker::check_drift(layout, desired, last_seen, comparison.drift())?;
        }
        let (believed, postponed) = (self.memory.believed(), self.memory.postponed());
        let repair = comparison.repair(match self.occasion {
            Occasion::Reconcile | Occasion::Rebuild => RepairChoice::Everything,
            Occasion::Routine => RepairChoice::Routine {
                mode: self.intent.roster.settings().reconcile,
                last_seen: &self.baseline.last_seen,
                believed: &believed,
                postponed: &postponed,
            },
        })?;
        Ok(PlannedRepair { drift: comparison.into_drift(), repair })
    }

    /// Notes the end of each tombstone whose queue is absent: nothing is left to drain or discard.
    async fn retire_absent_queues(&mut self, observed: &Topology) -> Result<(), PassError> {
        let ReconcileContext { broker, bus, .. } = self.context;
        for (queue, fate) in &self.intent.desired.fates {
            let is_absent = fate.pending != Pending::Keep && !observed.queues.contains_key(queue);
            // If the broker cannot say whether it has the queue, a later pass retires it.
            if let Some(id) = fate.id.as_ref().filter(|_| is_absent)
                && matches!(broker.depth(queue).await, Ok(None))
            {
                self.memory.quiet_queues().forget(queue);
                self.lease.retire(id, 0).await?;
                bus.wake();
            }
        }
        Ok(())
    }

    /// Applies the steps of a plan that declare, bind and unbind.
    async fn apply_changes(&mut self, plan: &Plan) -> Result<Applied, PassError> {
        let ReconcileContext { broker, metrics, .. } = self.context;
        let (changes, version) = (plan.changes(), self.intent.roster.version());
        self.recorder.intend(self.lease, version, &changes).await?;
        Ok(apply(&**broker, metrics, self.lease, &changes).await?)
    }

    /// Applies the deletions that are due, and skips the others.
    async fn delete_what_is_due(&mut self, deletions: &[Step]) -> Applied {
        let (quiet, recorder) = (self.memory.quiet_queues(), &mut self.recorder);
        let deleter = deletion::QueueDeleter::new(self.context, quiet, &self.intent, self.lease);
        let mut applied = deleter.delete_quiet_queues(recorder, deletions).await;
        applied.extend(deleter.delete_exchanges(recorder, deletions).await);
        applied
    }

    /// Pause until the next look at the queues of removed listeners.
    fn pause_between_deletions(&mut self) -> Duration {
        if self.memory.quiet_queues().any() { WHILE_QUIET } else { WHILE_DRAINING }
    }

    /// Records applied steps, and tells every node about them.
    async fn note(&mut self, applied: &Applied) {
        let (since, setbacks) = (self.baseline.status.reconciled_version, self.memory.setbacks());
        self.recorder.note(&self.intent, since, applied, setbacks).await;
        setbacks.note(applied, &self.context.clock);
    }

    /// Observes the broker after a change: a step that succeeded proves little, because RabbitMQ
    /// compares only some arguments of an object that exists.
    async fn observe_again(&mut self) -> Result<Vec<Drift>, PassError> {
        let observed = self.observe().await?;
        let drift = drift::between(self.layout(), &self.intent.desired, &observed);
        self.memory.note_drift(&drift);
        Ok(drift)
    }

    /// Stores the status.
    async fn end(self, findings: Result<Findings, PassError>) -> Result<PassOutcome, PassError> {
        let Self { context, memory, lease, recorder, intent, baseline, .. } = self;
        match findings {
            Ok(findings) => {
                save_status(context, memory, lease, &intent, &baseline, &findings).await?;
                match findings.failure.filter(BrokerError::is_transient) {
                    Some(error) => Err(error.into()),
                    None => Ok(PassOutcome {
                        steps: recorder.into_steps(),
                        next_pass: findings.next_pass,
                    }),
                }
            }
            Err(error) => {
                save_failure(context, lease, &baseline, &error).await;
                Err(error)
            }
        }
    }
}
