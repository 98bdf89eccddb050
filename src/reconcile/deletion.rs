//! Deletion of removed listeners' queues by a pass, under the rules of [`crate::domain::deletion`].

use super::{
    PassError,
    apply::{Applied, apply},
    intent::Intent,
    pass::Passes,
};
use crate::{
    domain::{
        plan::Step,
        report::{StepOutcome, StepRecord},
    },
    error_chain::error_chain,
    store::HeldLock,
};
use std::time::Instant;

impl Passes {
    /// Deletes the queues that have been quiet for long enough. One that cannot be asked about, or
    /// is not quiet, is skipped with the reason.
    pub(super) async fn delete(
        &mut self,
        intent: &Intent,
        lock: &mut HeldLock,
        steps: &[Step],
    ) -> Applied {
        let mut all = Applied::default();
        for step in steps {
            let queue = step.action.name();
            let Some(fate) = intent.desired.fates.get(&queue) else { continue };
            let refusal = match self.parts.broker.depth(&queue).await {
                Ok(None) => continue,
                Ok(Some(depth)) => {
                    let check = self.quiet.check(&queue, fate, depth, Instant::now());
                    check.err().map(|not_yet| not_yet.to_string())
                }
                Err(error) => {
                    self.quiet.forget(&queue);
                    Some(error_chain(&error))
                }
            };
            let refusal = match refusal {
                // A node that was paused may have lost the lock to another node.
                None if !lock.still_held().await => Some(PassError::Busy.to_string()),
                refusal => refusal,
            };
            if let Some(error) = refusal {
                let outcome = StepOutcome::Skipped { error };
                all.records.push(StepRecord { step: step.into(), outcome });
                continue;
            }
            let step = std::slice::from_ref(step);
            let done = apply(&*self.parts.broker, &self.parts.metrics, step).await;
            if let Some(StepOutcome::Done { destroyed }) = done.records.first().map(|r| &r.outcome)
            {
                tracing::info!(%queue, destroyed, "deleted queue {queue} of a removed listener; it held {destroyed} events");
                self.quiet.forget(&queue);
                if let Err(error) = self.parts.store.retire(&fate.id, *destroyed).await {
                    // The next pass finds the queue absent and notes that.
                    tracing::warn!(%queue, %error, "the end of queue {queue} could not be noted: {error}");
                }
            }
            all.records.extend(done.records);
            all.failure = all.failure.or(done.failure);
        }
        all
    }
}
