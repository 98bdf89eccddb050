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
        plan::Step,
        report::StepOutcome,
    },
    error_chain::error_chain,
    store::{Lease, StoreError},
};

/// Applies the deletions whose queue has been quiet for long enough. Skips every other deletion
/// and records the reason.
pub(super) async fn delete_quiet_queues(
    context: &ReconcileContext,
    quiet: &mut QuietQueues,
    intent: &Intent,
    lease: &Lease,
    deletions: &[Step],
) -> Applied {
    let mut applied = Applied::default();
    for deletion in deletions {
        let queue = deletion.action.name();
        let Some(fate) = intent.desired.fates.get(&queue) else { continue };
        let deleted = match check(context, quiet, deletion, fate).await {
            Ok(QueuePresence::Absent) => continue,
            Ok(QueuePresence::Present) => delete(context, quiet, lease, deletion, fate).await,
            Err(postponed) => Err(postponed),
        };
        match deleted {
            Ok(deleted) => applied.extend(deleted),
            Err(postponed) => {
                let outcome = StepOutcome::Skipped { error: error_chain(&postponed) };
                applied.steps.push(AppliedStep { step: deletion.clone(), outcome });
            }
        }
    }
    applied
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

/// Checks that a queue may be deleted now.
async fn check(
    context: &ReconcileContext,
    quiet: &mut QuietQueues,
    deletion: &Step,
    fate: &Fate,
) -> Result<QueuePresence, Postponed> {
    let queue = deletion.action.name();
    let depth = context.broker.depth(&queue).await.map_err(|error| {
        // Without counters there is no evidence that the queue stayed quiet.
        quiet.forget(&queue);
        Postponed::Unread(error)
    })?;
    let Some(depth) = depth else { return Ok(QueuePresence::Absent) };
    quiet.check(&queue, fate, depth, context.clock.monotonic()).map_err(Postponed::NotQuiet)?;
    if fate.pending == Pending::Drain {
        // The counters lag by seconds. The queue itself knows what waits in it now.
        let ready = context.broker.ready(&queue).await.map_err(Postponed::Unread)?;
        let now = Depth { ready: ready.unwrap_or_default(), ..depth };
        quiet.check(&queue, fate, now, context.clock.monotonic()).map_err(Postponed::NotQuiet)?;
    }
    Ok(QueuePresence::Present)
}

/// Deletes one queue, and notes that its tombstone is done.
async fn delete(
    context: &ReconcileContext,
    quiet: &mut QuietQueues,
    lease: &Lease,
    deletion: &Step,
    fate: &Fate,
) -> Result<Applied, Postponed> {
    let queue = deletion.action.name();
    let deletion = std::slice::from_ref(deletion);
    let applied = apply(&*context.broker, &context.metrics, lease, deletion)
        .await
        .map_err(Postponed::NoLease)?;
    if applied.is_done() {
        let destroyed = applied.destroyed();
        tracing::info!(%queue, destroyed, "deleted queue {queue} of a removed listener; it held {destroyed} events");
        quiet.forget(&queue);
        if let Err(error) = lease.retire(&fate.id, destroyed).await {
            let error = error_chain(&error);
            tracing::warn!(%queue, error, "queue {queue} was deleted, and the database could not note that; the next pass notes it: {error}");
        }
    }
    Ok(applied)
}
