//! Deletion of a queue that an administrator named.

use super::{
    apply::apply, context::ReconcileContext, error::PassError, pass_lease::take_lease,
    recorder::PassRecorder, setbacks::Setbacks, situation::Situation,
};
use crate::{
    domain::{
        command::Pending,
        deletion::{self, QueueContents},
        depth::Depth,
    },
    store::Lease,
};

/// Unbinds and deletes a queue of ours that no listener works on. Returns how many events the
/// broker destroyed.
pub(super) async fn delete_on_request(
    context: &ReconcileContext,
    queue: &str,
    contents: QueueContents,
) -> Result<u64, PassError> {
    let lease = take_lease(context).await?;
    let deleted = delete_under(context, &lease, queue, contents).await;
    lease.release().await;
    deleted
}

async fn delete_under(
    context: &ReconcileContext,
    lease: &Lease,
    queue: &str,
    contents: QueueContents,
) -> Result<u64, PassError> {
    let ReconcileContext { roster, broker, metrics, .. } = context;
    let mut recorder = PassRecorder::start(context);
    let Situation { intent, .. } = Situation::load_under(context, lease).await?;
    broker.check_undivided().await?;
    let observed = broker.observe().await?;
    deletion::check_request(roster.layout(), &intent.desired, &observed, queue)?;
    if contents == QueueContents::Spare {
        let depth = broker.depth(queue).await?.unwrap_or_default();
        deletion::check_empty(queue, depth)?;
        // The counters lag by seconds. The queue itself knows what waits in it now.
        let ready = broker.ready(queue).await?.unwrap_or_default();
        deletion::check_empty(queue, Depth { ready, ..depth })?;
    }
    let plan = deletion::plan_request(&observed, queue);
    let version = intent.roster.version();
    recorder.intend(lease, version, &plan.steps).await?;
    let applied = apply(&**broker, metrics, lease, &plan.steps).await?;
    recorder.note(&intent, version, &applied, &Setbacks::default()).await;
    recorder.store(lease, version).await?;
    let destroyed = applied.destroyed();
    if let Some(error) = applied.failure {
        return Err(error.into());
    }
    // The tombstone of a kept queue stays: adding its group again declares the queue again.
    let fate = intent.desired.fates.get(queue).filter(|fate| fate.pending != Pending::Keep);
    if let Some(id) = fate.and_then(|fate| fate.id.as_ref()) {
        lease.retire(id, destroyed).await?;
    }
    tracing::info!(%queue, destroyed, "deleted queue {queue} on request; it held {destroyed} events");
    Ok(destroyed)
}
