//! Release of an orphan.

use crate::{
    domain::{
        command::Command, deletion, event::Version, report::TopologyStatus, roster::OrphanQueue,
    },
    error_chain::error_chain,
    http::{
        App,
        auth::Actor,
        problem::{Problem, kinds},
        tasks::start_task,
    },
    reconcile::{Look, Reconciler},
    roster::Audited,
};
use axum::response::Response;
use serde_json::{Value, json};
use std::{sync::Arc, time::Duration};

/// Time that a release waits for the deletion of the queue.
const PATIENCE: Duration = Duration::from_mins(5);

/// Records that an orphan is let go, and starts a task that waits for the deletion of the queue.
pub(super) async fn release_queue(
    app: &Arc<App>,
    queue: String,
    actor: &Actor,
    audited: Audited,
) -> Result<Response, Problem> {
    let orphan = find_orphan(app, &queue).await?;
    let outcome = app.roster.execute(Command::ReleaseQueue { queue: orphan }, audited).await?;
    let (reconciler, version) = (app.reconciler.clone(), outcome.version);
    let waiting = Box::pin(async move { wait_for_deletion(&reconciler, &queue, version).await });
    start_task(app, "queue-release", actor, waiting).await
}

async fn find_orphan(app: &App, queue: &str) -> Result<OrphanQueue, Problem> {
    let look = app.reconciler.look().await?;
    let observed = look.observed().map_err(|cause| {
        let detail = "the broker cannot be read, so it is unknown whether the queue is an orphan";
        Problem::new(&kinds::BROKER_UNAVAILABLE, detail)
            .with("cause", error_chain(cause))
            .retry_after(5)
    })?;
    Ok(deletion::check_release(app.roster.layout(), &look.desired, observed, queue)?)
}

/// Waits until a pass deleted the queue, or until a pass held the deletion back because of another
/// sign that the broker knows a later history.
async fn wait_for_deletion(
    reconciler: &Reconciler,
    queue: &str,
    version: Version,
) -> Result<Value, Problem> {
    let ends = |status: &TopologyStatus| {
        let is_held_back = status.reconciled_version >= version && status.restraint.is_some();
        is_held_back || status.has_let_go(queue, version)
    };
    if !reconciler.wait_until(PATIENCE, ends).await {
        let detail = format!(
            "the roster has the release (version {version}), but queue {queue} was not deleted within {} seconds: a queue with a consumer is not deleted; hearken continues by itself",
            PATIENCE.as_secs()
        );
        return Err(Problem::new(&kinds::TIMEOUT, detail));
    }
    let Look { status, .. } = reconciler.look().await?;
    let is_deleted = status.has_let_go(queue, version);
    let held_back = status.restraint.filter(|_| !is_deleted);
    Ok(
        json!({ "queue": queue, "version": version, "deleted": is_deleted, "heldBackBy": held_back }),
    )
}
