//! Deletion of dead letters. Deleting an entry that does not exist succeeds, as in James.

use super::filter::{GroupSegment, InsertionIdSegment};
use crate::{
    domain::{
        name::{BusName, GroupName},
        report::TaskState,
    },
    http::{
        App,
        older_than::older_than,
        parameters::{Segment, Segments, invalid_parameter},
        precondition::CommandRequest,
        problem::{Problem, kinds},
        tasks::{Submitted, start_reporting_task},
    },
    retention::DeadLetterPurge,
    store::dead_letters::DeadLetterFilter,
    tasks::Awaited,
};
use axum::{
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use std::{sync::Arc, time::Duration};

/// Longest wait for the end of the deletion of a group, before the caller gets its task.
const PATIENCE: Duration = Duration::from_secs(10);

/// Delete old dead letters
///
/// A task deletes the entries that last failed longer ago than `olderThan`. Their events are lost.
#[utoipa::path(
    delete, path = "/events/deadLetter", tag = "dead letters", operation_id = "purgeDeadLetters",
    params(
        ("olderThan" = String, Query, description = "Time since the last failure.", example = "30day"),
        ("group" = Option<String>, Query, description = "Only entries of this group."),
        ("bus" = Option<String>, Query, description = "Only entries of this bus."),
    ),
    responses((status = 201, description = "A task deletes the entries.", body = Submitted,
        headers(("Location" = String, description = "Address of the task.")))),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn purge(
    State(app): State<Arc<App>>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    let before = older_than(&request.query, &app.clock)?;
    if before.is_none() {
        let detail = "'olderThan' query parameter is compulsory: a time span, such as 30day; to delete all dead letters of a group, name the group in the path";
        return Err(invalid_parameter("olderThan", detail.into()));
    }
    let group = request.query.text("group").map(GroupName::parse).transpose()?;
    let filter =
        DeadLetterFilter { group, before, bus: bus(&request)?, ..DeadLetterFilter::default() };
    let (purge, store) = (DeadLetterPurge { filter }, app.store.clone());
    let begin = |progress| purge.run(store, progress);
    start_reporting_task(&app, DeadLetterPurge::KIND, &request.actor, begin).await
}

/// Delete the dead letters of a group
///
/// Deletes all entries of the group, or those that `olderThan` selects. Their events are lost. A
/// deletion that takes longer than ten seconds goes on as a task.
#[utoipa::path(
    delete, path = "/events/deadLetter/groups/{group}", tag = "dead letters", operation_id = "deleteDeadLettersOfGroup",
    params(
        ("group" = String, Path, description = "The group."),
        ("olderThan" = Option<String>, Query, description = "Only entries that last failed longer ago than this.", example = "30day"),
        ("bus" = Option<String>, Query, description = "Only entries of this bus."),
    ),
    responses(
        (status = 204, description = "No such entry of the group is left."),
        (status = 201, description = "A task deletes the entries.", body = Submitted,
            headers(("Location" = String, description = "Address of the task."))),
    ),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn remove_group(
    State(app): State<Arc<App>>,
    Segment(GroupSegment(group)): Segment<GroupSegment>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    let before = older_than(&request.query, &app.clock)?;
    let bus = bus(&request)?;
    let filter =
        DeadLetterFilter { group: Some(group), before, bus, ..DeadLetterFilter::default() };
    let (purge, store) = (DeadLetterPurge { filter }, app.store.clone());
    let (kind, actor) = (DeadLetterPurge::KIND, &request.actor.0);
    let id = app.tasks.submit(kind, actor, |progress| purge.run(store, progress)).await?;
    match app.tasks.await_end(id, PATIENCE).await? {
        Awaited::Ended(task) if task.state == TaskState::Completed => {
            Ok(StatusCode::NO_CONTENT.into_response())
        }
        Awaited::Ended(task) => {
            let state = task.state;
            let detail = format!("the deletion ended as {state:?}; /tasks/{id} has its report");
            Err(Problem::new(&kinds::STORE_UNAVAILABLE, detail).retry_after(5))
        }
        Awaited::TimedOut | Awaited::Unknown => Ok(Submitted::answer(id)),
    }
}

/// Delete a dead letter
///
/// The event of the entry is lost.
#[utoipa::path(
    delete, path = "/events/deadLetter/groups/{group}/{id}", tag = "dead letters", operation_id = "deleteDeadLetter",
    params(
        ("group" = String, Path, description = "The group."),
        ("id" = Uuid, Path, description = "Id of the entry."),
    ),
    responses((status = 204, description = "The group has no such entry any more.")),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Segments(GroupSegment(group), InsertionIdSegment(id)): Segments<
        GroupSegment,
        InsertionIdSegment,
    >,
    request: CommandRequest,
) -> Result<StatusCode, Problem> {
    let found = app.store.dead_letter(id).await?;
    if found.is_some_and(|(letter, _)| letter.group == group)
        && app.store.remove_dead_letter(id).await?
    {
        let actor = &request.actor.0;
        tracing::info!(%group, %id, %actor, "{actor} deleted dead letter {id} of group {group}");
    }
    Ok(StatusCode::NO_CONTENT)
}

/// Bus of the query, if it has one.
fn bus(request: &CommandRequest) -> Result<Option<BusName>, Problem> {
    Ok(request.query.text("bus").map(BusName::parse).transpose()?)
}
