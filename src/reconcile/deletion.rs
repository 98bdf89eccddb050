//! Deletion of removed listeners' queues by a pass, by the rules of [`crate::domain::deletion`].

use super::{
    apply::{Applied, AppliedStep, apply},
    context::ReconcileContext,
    intent::Intent,
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

/// Applies the deletions whose queue has been quiet for long enough. Skips every other deletion
/// and records the reason.
pub(super) async fn delete_quiet_queues(
    context: &ReconcileContext,
    quiet: &mut QuietQueues,
    intent: &Intent,
    lease: &Lease,
    deletions: &[Step],
) -> Applied {
    let deleter = QueueDeleter { context, quiet: Mutex::new(quiet), lease };
    let mut due = Vec::new();
    let layout = context.roster.layout();
    for deletion in deletions {
        if let Action::DeleteQueue(queue) = &deletion.action
            && let Some(fate) = intent.desired.fate(layout, queue)
        {
            due.push(deleter.delete_if_quiet(deletion, fate));
        }
    }
    let mut applied = Applied::default();
    let mut results = stream::iter(due).buffered(AT_ONCE);
    while let Some(result) = results.next().await {
        applied.extend(result);
    }
    // After the queues: a queue is bound to its exchange until it is deleted.
    applied.extend(delete_exchanges(context, lease, deletions).await);
    applied
}

/// Deletes exchanges of removed buses. Without the lease, a later pass deletes them.
async fn delete_exchanges(
    context: &ReconcileContext,
    lease: &Lease,
    deletions: &[Step],
) -> Applied {
    let is_exchange = |step: &&Step| matches!(step.action, Action::DeleteExchange(_));
    let steps: Vec<Step> = deletions.iter().filter(is_exchange).cloned().collect();
    if steps.is_empty() {
        return Applied::default();
    }
    let ReconcileContext { broker, metrics, .. } = context;
    apply(&**broker, metrics, lease, &steps).await.unwrap_or_default()
}

/// Deletes queues of removed listeners and buses.
struct QueueDeleter<'a> {
    context: &'a ReconcileContext,
    /// Locked for single looks only.
    quiet: Mutex<&'a mut QuietQueues>,
    lease: &'a Lease,
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

impl QueueDeleter<'_> {
    async fn delete_if_quiet(&self, deletion: &Step, fate: Fate) -> Applied {
        let deleted = match self.check(deletion, &fate).await {
            Ok(QueuePresence::Absent) => return Applied::default(),
            Ok(QueuePresence::Present) => self.delete(deletion, &fate).await,
            Err(postponed) => Err(postponed),
        };
        deleted.unwrap_or_else(|postponed| {
            let outcome = StepOutcome::Skipped { error: error_chain(&postponed) };
            let skipped = AppliedStep { step: deletion.clone(), outcome };
            Applied { steps: vec![skipped], failure: None }
        })
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
    async fn delete(&self, deletion: &Step, fate: &Fate) -> Result<Applied, Postponed> {
        let ReconcileContext { broker, metrics, .. } = self.context;
        let queue = deletion.action.name();
        let deletion = std::slice::from_ref(deletion);
        let applied =
            apply(&**broker, metrics, self.lease, deletion).await.map_err(Postponed::NoLease)?;
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
        Ok(applied)
    }
}
