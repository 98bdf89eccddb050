//! `/topology/queues/{name}`: migration, release and deletion of one queue.
//!
//! A request that can be refused is refused at once. The work itself is a task, which checks again.

use super::release::release_queue;
use crate::{
    domain::{
        command::Command,
        deletion::{self, QueueContents, QueueRefusal},
    },
    error_chain::error_chain,
    http::{
        App,
        auth::Actor,
        body::Body,
        parameters::Segment,
        precondition::CommandRequest,
        problem::{Problem, kinds},
        tasks::{Submitted, action, start_task},
    },
    roster::Audited,
};
use axum::{extract::State, response::Response};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// Time that a migration waits for the broker to follow.
const PATIENCE: Duration = Duration::from_mins(5);

/// Migrate or release a queue
///
/// `migrate` is for a queue whose arguments differ from the desired ones. It gives the listener a
/// new queue and drains this one. Both queues are consumed, so no event is lost. `release` is for
/// an orphan that is not needed. The roster records the release; the queue is unbound and deleted
/// with the events in it.
#[utoipa::path(
    post, path = "/topology/queues/{name}", tag = "topology", operation_id = "migrateOrReleaseQueue",
    params(
        ("name" = String, Path, description = "Name of the current work queue of a listener, or of an orphan."),
        ("action" = String, Query, description = "`migrate` or `release`.", example = "migrate"),
        ("reason" = Option<String>, Query, description = "Reason for the migration or the release, kept in the history."),
    ),
    responses((status = 201, description = "A task migrates the queue, or waits for the deletion of the released queue.", body = Submitted,
        headers(("Location" = String, description = "Address of the task.")))),
    extensions(("x-problems" = json!(["not-found", "foreign", "not-orphan",
        "stale-version", "command-reused", "body-too-large", "timeout", "contention", "broker-unavailable",
        "store-unavailable"]))),
)]
pub(crate) async fn migrate_or_release_queue(
    State(app): State<Arc<App>>,
    Segment(name): Segment<String>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let action = action(&request.query, &["migrate", "release"])?;
    let audited = request.audited(&body, request.reason()?)?;
    match action {
        "release" => Box::pin(release_queue(&app, name, &request.actor, audited)).await,
        _ => migrate_queue(&app, name, &request.actor, audited).await,
    }
}

async fn migrate_queue(
    app: &Arc<App>,
    name: String,
    actor: &Actor,
    audited: Audited,
) -> Result<Response, Problem> {
    app.roster.current().await?;
    let Some(queue) = app.reconciler.current_queue(&name) else {
        let look = app.reconciler.look().await?;
        let foreign = look.observed().is_ok_and(|observed| {
            let check =
                deletion::check_request(app.roster.layout(), &look.desired, observed, &name);
            matches!(check, Err(QueueRefusal::Foreign(_)))
        });
        let detail = format!("no listener consumes a queue {name}; GET /topology lists the queues");
        return Err(if foreign {
            QueueRefusal::Foreign(name).into()
        } else {
            Problem::new(&kinds::NOT_FOUND, detail)
        });
    };
    let (roster, reconciler) = (Arc::clone(&app.roster), app.reconciler.clone());
    start_task(app, "queue-migrate", actor, Box::pin(async move {
        let group = queue.group.clone();
        // A queue that another request migrated meanwhile is not migrated twice.
        let version = roster.execute(Command::MigrateListener { queue }, audited).await?.version;
        if !reconciler.wait_for(version, PATIENCE).await {
            let detail = format!(
                "the roster has the migration (version {version}), but the broker did not follow within {} seconds; hearken continues by itself",
                PATIENCE.as_secs()
            );
            return Err(Problem::new(&kinds::TIMEOUT, detail));
        }
        Ok(json!({ "group": group, "queue": name, "version": version }))
    }))
    .await
}

/// Delete a queue
///
/// Deletes a queue of hearken that no listener consumes, such as the kept queue of a removed
/// listener. A queue that holds events needs `force`; the report of the task has the number of
/// destroyed events.
#[utoipa::path(
    delete, path = "/topology/queues/{name}", tag = "topology", operation_id = "deleteQueue",
    params(
        ("name" = String, Path, description = "Name of the queue."),
        ("force" = Option<bool>, Query, description = "Delete the queue with the events that it holds."),
    ),
    responses((status = 201, description = "A task deletes the queue.", body = Submitted,
        headers(("Location" = String, description = "Address of the task.")))),
    extensions(("x-problems" = json!(["not-found", "foreign", "not-empty", "in-use", "broker-unavailable", "store-unavailable"]))),
)]
pub(crate) async fn delete_queue(
    State(app): State<Arc<App>>,
    Segment(name): Segment<String>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    let contents =
        if request.query.flag("force")? { QueueContents::Destroy } else { QueueContents::Spare };
    let look = app.reconciler.look().await?;
    let observed = look.observed().map_err(|cause| {
        let detail = "the broker cannot be read, so it is unknown whether the queue may be deleted";
        Problem::new(&kinds::BROKER_UNAVAILABLE, detail)
            .with("cause", error_chain(cause))
            .retry_after(5)
    })?;
    deletion::check_request(app.roster.layout(), &look.desired, observed, &name)?;
    if contents == QueueContents::Spare
        && let Some(depth) = app.reconciler.depth(&name).await
    {
        deletion::check_empty(&name, depth)?;
    }
    let reconciler = app.reconciler.clone();
    start_task(&app, "queue-delete", &request.actor, async move {
        let destroyed = reconciler.delete_queue(&name, contents).await?;
        Ok(json!({ "queue": name, "destroyed": destroyed }))
    })
    .await
}
