//! Deleting a queue because an administrator asked for it by name.

use super::{PassError, apply::apply, pass::Passes};
use crate::{
    clock,
    domain::{
        command::Pending,
        deletion::{self, QueueContents},
        desired::desired,
        report::{PassRecord, StepOutcome},
    },
    store::Lock,
};

impl Passes {
    /// Unbinds and deletes a queue of ours that nothing needs.
    pub(super) async fn delete_on_request(
        &mut self,
        queue: &str,
        contents: QueueContents,
    ) -> Result<u64, PassError> {
        let parts = std::sync::Arc::clone(&self.parts);
        let Some(mut lock) = parts.store.try_lock(Lock::Passes).await? else {
            return Err(PassError::Busy);
        };
        let started_at = clock::now();
        let roster = parts.roster.current().await?;
        let retired = parts.store.retired().await?;
        let layout = parts.roster.layout();
        let desired = desired(layout, &*parts.roster.read_buses().await?, &roster, &retired);
        let observed = parts.broker.observe().await?;
        deletion::check_request(layout, &desired, &observed, queue)?;
        if contents == QueueContents::Spare {
            let depth = parts.broker.depth(queue).await?;
            deletion::check_empty(queue, depth.unwrap_or_default())?;
        }
        let steps = deletion::plan_request(&observed, queue).steps;
        if !lock.still_held().await {
            return Err(PassError::Busy);
        }
        let applied = apply(&*parts.broker, &parts.metrics, &steps).await;
        let destroyed = match applied.records.last().map(|record| &record.outcome) {
            Some(StepOutcome::Done { destroyed }) => *destroyed,
            _ => 0,
        };
        let (node, version) = (parts.roster.node().clone(), roster.version());
        let record = PassRecord {
            id: 0,
            node,
            started_at,
            finished_at: clock::now(),
            version,
            steps: applied.records,
        };
        parts.store.record_pass(&record).await?;
        if let Some(error) = applied.failure {
            return Err(error.into());
        }
        // A kept queue's tombstone stays: adding its group again declares the queue again.
        let fate = desired.fates.get(queue).filter(|fate| fate.pending != Pending::Keep);
        if let Some(fate) = fate {
            parts.store.retire(&fate.id, destroyed).await?;
        }
        tracing::info!(%queue, destroyed, "deleted queue {queue} on request; it held {destroyed} events");
        Ok(destroyed)
    }
}
