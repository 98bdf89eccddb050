//! Deletion of dead letters. Deleting an entry that does not exist succeeds, as in James.

use super::filter::{self, GroupSegment, InsertionIdSegment};
use crate::{
    domain::name::{BusName, GroupName},
    http::{
        App,
        parameters::{Query, Segment, Segments, invalid_parameter},
        precondition::CommandRequest,
        problem::Problem,
    },
    store::dead_letters::DeadLetterFilter,
};
use axum::{extract::State, http::StatusCode};
use std::sync::Arc;

/// Delete old dead letters
///
/// Deletes the entries that last failed longer ago than `olderThan`. Their events are lost.
#[utoipa::path(
    delete, path = "/events/deadLetter", tag = "dead letters", operation_id = "purgeDeadLetters",
    params(
        ("olderThan" = String, Query, description = "Time since the last failure.", example = "30day"),
        ("group" = Option<String>, Query, description = "Only entries of this group."),
        ("bus" = Option<String>, Query, description = "Only entries of this bus."),
    ),
    responses((status = 204, description = "No entry of that age is left.")),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn purge(
    State(app): State<Arc<App>>,
    request: CommandRequest,
) -> Result<StatusCode, Problem> {
    let before = filter::older_than(&request.query, &app.clock)?;
    if before.is_none() {
        let detail = "'olderThan' query parameter is compulsory: a time span, such as 30day; to delete all dead letters of a group, name the group in the path";
        return Err(invalid_parameter("olderThan", detail.into()));
    }
    let group = request.query.text("group").map(GroupName::parse).transpose()?;
    delete(&app, &request, DeadLetterFilter { group, before, ..DeadLetterFilter::default() }).await
}

/// Delete the dead letters of a group
///
/// Deletes all entries of the group, or those that `olderThan` selects. Their events are lost.
#[utoipa::path(
    delete, path = "/events/deadLetter/groups/{group}", tag = "dead letters", operation_id = "deleteDeadLettersOfGroup",
    params(
        ("group" = String, Path, description = "The group."),
        ("olderThan" = Option<String>, Query, description = "Only entries that last failed longer ago than this.", example = "30day"),
        ("bus" = Option<String>, Query, description = "Only entries of this bus."),
    ),
    responses((status = 204, description = "No such entry of the group is left.")),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn remove_group(
    State(app): State<Arc<App>>,
    Segment(GroupSegment(group)): Segment<GroupSegment>,
    request: CommandRequest,
) -> Result<StatusCode, Problem> {
    let before = filter::older_than(&request.query, &app.clock)?;
    let filter = DeadLetterFilter { group: Some(group), before, ..DeadLetterFilter::default() };
    delete(&app, &request, filter).await
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

async fn delete(
    app: &App,
    request: &CommandRequest,
    filter: DeadLetterFilter,
) -> Result<StatusCode, Problem> {
    let query: &Query = &request.query;
    let bus = query.text("bus").map(BusName::parse).transpose()?;
    let filter = DeadLetterFilter { bus, ..filter };
    let deleted = app.store.purge_dead_letters(&filter).await?;
    let actor = &request.actor.0;
    tracing::info!(deleted, %actor, ?filter, "{actor} deleted {deleted} dead letters");
    Ok(StatusCode::NO_CONTENT)
}
