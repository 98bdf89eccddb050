//! Deletion of removed listeners' queues by a pass, by the rules of [`crate::domain::deletion`].

use super::{
    apply::{Applied, AppliedStep, apply},
    context::ReconcileContext,
    intent::Intent,
    recorder::PassRecorder,
};
use crate::{
    broker::BrokerError,
    domain::{
        command::Pending,
        deletion::{NotYet, QuietQueues},
        depth::Depth,
        desired::Fate,
        plan::{Action, Step},
        report::StepOutcome,
    },
    error_chain::error_chain,
    store::{Lease, StoreError},
};
use futures_util::{StreamExt, stream};
use parking_lot::Mutex;

/// Largest number of deletions at the same time. Each reads the queue's counters, checks the lease
/// and deletes the queue, and most of that time is waiting for answers.
const AT_ONCE: usize = 16;

/// Number of deletions that are recorded together before they are applied. Each record holds all
/// steps of the pass, so a larger number writes less. A smaller number shortens the time between
/// the look at a queue and its deletion.
const RECORDED_AT_ONCE: usize = 256;

/// Deletes queues of removed listeners, and queues and exchanges of removed buses.
pub(super) struct QueueDeleter<'a> {
    context: &'a ReconcileContext,
    /// Locked for single looks only.
    quiet: Mutex<&'a mut QuietQueues>,
    intent: &'a Intent,
    lease: &'a Lease,
}

/// Verdict on one deletion.
enum DeletionVerdict<'a> {
    Due { deletion: &'a Step, fate: Fate },
    Postponed(AppliedStep),
}

enum QueuePresence {
    /// The broker does not have the queue any more. The next pass retires it.
    Absent,
    /// The broker has the queue.
    Present,
}

/// Reason why a deletion is left for a later pass.
#[derive(Debug, thiserror::Error)]
enum Postponed {
    #[error(transparent)]
    NotQuiet(NotYet),
    #[error(transparent)]
    Unread(BrokerError),
    #[error(transparent)]
    NoLease(StoreError),
}

impl<'a> QueueDeleter<'a> {
    /// A deleter for one pass.
    pub(super) fn new(
        context: &'a ReconcileContext,
        quiet: &'a mut QuietQueues,
        intent: &'a Intent,
        lease: &'a Lease,
    ) -> Self {
        Self { context, quiet: Mutex::new(quiet), intent, lease }
    }

    /// Applies the deletions whose queue has been quiet for long enough. Skips every other deletion
    /// and records the reason.
    pub(super) async fn delete_quiet_queues(
        &self,
        recorder: &mut PassRecorder<'_>,
        deletions: &[Step],
    ) -> Applied {
        let mut applied = Applied::default();
        for deletions in deletions.chunks(RECORDED_AT_ONCE) {
            let looks: Vec<_> = deletions.iter().map(|deletion| self.judge(deletion)).collect();
            let verdicts: Vec<_> = stream::iter(looks).buffered(AT_ONCE).collect().await;
            let (mut steps, mut due) = (Vec::new(), Vec::new());
            for verdict in verdicts.into_iter().flatten() {
                match verdict {
                    DeletionVerdict::Due { deletion, fate } => {
                        steps.push(deletion.clone());
                        due.push(self.delete(deletion, fate));
                    }
                    DeletionVerdict::Postponed(skipped) => applied.steps.push(skipped),
                }
            }
            let version = self.intent.roster.version();
            if let Err(error) = recorder.intend(self.lease, version, &steps).await {
                let postponed = Postponed::NoLease(error);
                applied.steps.extend(steps.iter().map(|step| skipped(step, &postponed)));
                break;
            }
            let mut results = stream::iter(due).buffered(AT_ONCE);
            while let Some(result) = results.next().await {
                applied.extend(result);
            }
        }
        applied
    }

    /// Deletes exchanges of removed buses. Their queues are gone by then: a queue is bound to its
    /// exchange until it is deleted. Without the lease, a later pass deletes the exchanges.
    pub(super) async fn delete_exchanges(
        &self,
        recorder: &mut PassRecorder<'_>,
        deletions: &[Step],
    ) -> Applied {
        let is_exchange = |step: &&Step| matches!(step.action, Action::DeleteExchange(_));
        let steps: Vec<Step> = deletions.iter().filter(is_exchange).cloned().collect();
        if steps.is_empty() {
            return Applied::default();
        }
        let version = self.intent.roster.version();
        let ReconcileContext { broker, metrics, .. } = self.context;
        let applied = match recorder.intend(self.lease, version, &steps).await {
            Ok(()) => apply(&**broker, metrics, self.lease, &steps).await,
            Err(error) => Err(error),
        };
        applied.unwrap_or_else(|error| {
            let postponed = Postponed::NoLease(error);
            let steps = steps.iter().map(|step| skipped(step, &postponed)).collect();
            Applied { steps, failure: None }
        })
    }

    /// Decides about one deletion. `None` when the step deletes no queue, or the queue is gone.
    async fn judge<'s>(&'s self, deletion: &'s Step) -> Option<DeletionVerdict<'s>> {
        let Action::DeleteQueue(queue) = &deletion.action else { return None };
        let fate = self.intent.desired.fate(self.context.roster.layout(), queue)?;
        match self.check(deletion, &fate).await {
            Ok(QueuePresence::Absent) => None,
            Ok(QueuePresence::Present) => Some(DeletionVerdict::Due { deletion, fate }),
            Err(postponed) => Some(DeletionVerdict::Postponed(skipped(deletion, &postponed))),
        }
    }

    /// Checks that a queue may be deleted now.
    async fn check(&self, deletion: &Step, fate: &Fate) -> Result<QueuePresence, Postponed> {
        let queue = deletion.action.name();
        let broker = &self.context.broker;
        let depth = broker.depth(&queue).await.map_err(|error| {
            // Without counters there is no evidence that the queue stayed quiet.
            self.quiet.lock().forget(&queue);
            Postponed::Unread(error)
        })?;
        let Some(depth) = depth else { return Ok(QueuePresence::Absent) };
        self.check_quiet(&queue, fate, depth)?;
        if fate.pending == Pending::Drain {
            // The counters lag by seconds. The queue itself knows what waits in it now.
            let ready = broker.ready(&queue).await.map_err(Postponed::Unread)?;
            let now = Depth { ready: ready.unwrap_or_default(), ..depth };
            self.check_quiet(&queue, fate, now)?;
        }
        Ok(QueuePresence::Present)
    }

    fn check_quiet(&self, queue: &str, fate: &Fate, depth: Depth) -> Result<(), Postponed> {
        let now = self.context.clock.monotonic();
        self.quiet.lock().check(queue, fate, depth, now).map_err(Postponed::NotQuiet)
    }

    /// Deletes one queue, and notes that its tombstone is done.
    async fn delete(&self, deletion: &Step, fate: Fate) -> Applied {
        let ReconcileContext { broker, metrics, .. } = self.context;
        let queue = deletion.action.name();
        let applied =
            match apply(&**broker, metrics, self.lease, std::slice::from_ref(deletion)).await {
                Ok(applied) => applied,
                Err(error) => {
                    let steps = vec![skipped(deletion, &Postponed::NoLease(error))];
                    return Applied { steps, failure: None };
                }
            };
        if applied.is_done() {
            let destroyed = applied.destroyed();
            tracing::info!(%queue, destroyed, "deleted queue {queue} of a removed listener or bus; it held {destroyed} events");
            self.quiet.lock().forget(&queue);
            if let Some(id) = &fate.id
                && let Err(error) = self.lease.retire(id, destroyed).await
            {
                let error = error_chain(&error);
                tracing::warn!(%queue, error, "queue {queue} was deleted, and the database could not note that; the next pass notes it: {error}");
            }
        }
        applied
    }
}

/// A deletion that a later pass tries.
fn skipped(deletion: &Step, postponed: &Postponed) -> AppliedStep {
    let outcome = StepOutcome::Skipped { error: error_chain(postponed) };
    AppliedStep { step: deletion.clone(), outcome }
}
