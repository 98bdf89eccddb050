//! `/topology/queues/{name}`: what an administrator may do to a single queue.
//!
//! What can be refused is refused at once; the work itself is a task, and checks again.

use crate::{
    domain::{
        command::Command,
        deletion::{self, QueueContents, QueueRefusal},
    },
    error_chain::error_chain,
    http::{
        App,
        body::Body,
        parameters::Segment,
        precondition::CommandRequest,
        problem::{Problem, kinds},
        tasks::{Submitted, action, submitted},
    },
};
use axum::{extract::State, response::Response};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// How long a migration may wait for the broker to follow.
const PATIENCE: Duration = Duration::from_mins(5);

/// Migrate a queue
///
/// Gives its listener a new queue and drains this one: both are consumed, nothing is lost. For a
/// queue whose arguments are not what they should be.
#[utoipa::path(
    post, path = "/topology/queues/{name}", tag = "topology", operation_id = "migrateQueue",
    params(
        ("name" = String, Path, description = "The current work queue of a listener."),
        ("action" = String, Query, description = "`migrate`.", example = "migrate"),
        ("reason" = Option<String>, Query, description = "Why; kept in the history."),
    ),
    responses((status = 201, description = "A task migrates it.", body = Submitted,
        headers(("Location" = String, description = "The task.")))),
    extensions(("x-problems" = json!(["not-found", "foreign", "body-too-large", "timeout", "store-unavailable"]))),
)]
pub(crate) async fn migrate_queue(
    State(app): State<Arc<App>>,
    Segment(name): Segment<String>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    action(&request.query, &["migrate"])?;
    let audited = request.audited(&body, request.reason()?)?;
    app.roster.current().await?;
    let Some(group) = app.reconciler.queue_group(&name) else {
        let look = app.reconciler.look().await?;
        let foreign = look.observed.is_ok_and(|observed| {
            let check =
                deletion::check_request(app.roster.layout(), &look.desired, &observed, &name);
            matches!(check, Err(QueueRefusal::Foreign(_)))
        });
        let detail = format!("no listener works on a queue {name}; GET /topology lists the queues");
        return Err(if foreign {
            QueueRefusal::Foreign(name).into()
        } else {
            Problem::new(&kinds::NOT_FOUND, detail)
        });
    };
    let (roster, reconciler) = (Arc::clone(&app.roster), app.reconciler.clone());
    submitted(&app, "queue-migrate", &request.actor, Box::pin(async move {
        let outcome = roster.execute(Command::MigrateListener { group: group.clone() }, audited).await?;
        let version = outcome.events.last().map_or(0, |event| event.version);
        if !reconciler.wait_for(version, PATIENCE).await {
            let detail = format!(
                "the roster has the migration (version {version}), and the broker does not follow after {} seconds",
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
/// Only one of hearken's own that no listener works on, such as the kept queue of a removed
/// listener. With events in it only by `force`; the task says how many were destroyed.
#[utoipa::path(
    delete, path = "/topology/queues/{name}", tag = "topology", operation_id = "deleteQueue",
    params(
        ("name" = String, Path, description = "The queue."),
        ("force" = Option<bool>, Query, description = "Destroy the events in it."),
    ),
    responses((status = 201, description = "A task deletes it.", body = Submitted,
        headers(("Location" = String, description = "The task.")))),
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
    let observed = look.observed.map_err(|cause| {
        let detail = "the broker cannot be read, so it is not known what the queue is";
        Problem::new(&kinds::BROKER_UNAVAILABLE, detail)
            .with("cause", error_chain(&cause))
            .retry_after(5)
    })?;
    deletion::check_request(app.roster.layout(), &look.desired, &observed, &name)?;
    if contents == QueueContents::Spare
        && let Some(depth) = app.reconciler.depth(&name).await
    {
        deletion::check_empty(&name, depth)?;
    }
    let reconciler = app.reconciler.clone();
    submitted(&app, "queue-delete", &request.actor, async move {
        let destroyed = reconciler.delete_queue(&name, contents).await?;
        Ok(json!({ "queue": name, "destroyed": destroyed }))
    })
    .await
}
