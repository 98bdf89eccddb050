//! Putting dead letters back. Each call starts a task, as in James.

use super::filter::{self, GroupSegment, InsertionIdSegment};
use crate::{
    dispatch::{RedeliveryRun, RedeliveryScope},
    http::{
        App,
        parameters::{Segment, Segments},
        precondition::CommandRequest,
        problem::Problem,
        tasks::{Submitted, action, started},
    },
};
use axum::{extract::State, response::Response};
use std::sync::Arc;

/// Redeliver dead letters
///
/// Of every group; what was parked and what could not be published come last. An entry is removed
/// once the broker has its event; the task is `failed` when some are left.
#[utoipa::path(
    post, path = "/events/deadLetter", tag = "dead letters", operation_id = "redeliverDeadLetters",
    params(
        ("action" = String, Query, description = "`reDeliver`.", example = "reDeliver"),
        ("limit" = Option<u64>, Query, description = "At most so many entries."),
        ("group" = Option<String>, Query, description = "Only entries of this group."),
        ("bus" = Option<String>, Query, description = "Only entries of this bus."),
        ("type" = Option<String>, Query, description = "Only events of this type."),
        ("user" = Option<String>, Query, description = "Only events about this user."),
        ("since" = Option<String>, Query, description = "Only entries whose last failure was then or after (ISO 8601 with zone)."),
        ("before" = Option<String>, Query, description = "Only entries whose last failure was before this time."),
    ),
    responses((status = 201, description = "A task puts them back.", body = Submitted,
        headers(("Location" = String, description = "The task.")))),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn redeliver_all(
    State(app): State<Arc<App>>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    let group = filter::read(&request.query)?.group;
    start(&app, &request, group.map_or(RedeliveryScope::All, RedeliveryScope::Group)).await
}

/// Redeliver the dead letters of a group
///
/// An entry is removed once the broker has its event; the task is `failed` when some are left.
#[utoipa::path(
    post, path = "/events/deadLetter/groups/{group}", tag = "dead letters", operation_id = "redeliverDeadLettersOfGroup",
    params(
        ("group" = String, Path, description = "The group."),
        ("action" = String, Query, description = "`reDeliver`.", example = "reDeliver"),
        ("limit" = Option<u64>, Query, description = "At most so many entries."),
        ("bus" = Option<String>, Query, description = "Only entries of this bus."),
        ("type" = Option<String>, Query, description = "Only events of this type."),
        ("user" = Option<String>, Query, description = "Only events about this user."),
        ("since" = Option<String>, Query, description = "Only entries whose last failure was then or after (ISO 8601 with zone)."),
        ("before" = Option<String>, Query, description = "Only entries whose last failure was before this time."),
    ),
    responses((status = 201, description = "A task puts them back.", body = Submitted,
        headers(("Location" = String, description = "The task.")))),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn redeliver_group(
    State(app): State<Arc<App>>,
    Segment(GroupSegment(group)): Segment<GroupSegment>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    start(&app, &request, RedeliveryScope::Group(group)).await
}

/// Redeliver a dead letter
///
/// The entry is removed once the broker has its event; the task is `failed` when it is left. An
/// entry that there is not is no failure.
#[utoipa::path(
    post, path = "/events/deadLetter/groups/{group}/{id}", tag = "dead letters", operation_id = "redeliverDeadLetter",
    params(
        ("group" = String, Path, description = "The group."),
        ("id" = Uuid, Path, description = "The entry."),
        ("action" = String, Query, description = "`reDeliver`.", example = "reDeliver"),
    ),
    responses((status = 201, description = "A task puts it back.", body = Submitted,
        headers(("Location" = String, description = "The task.")))),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn redeliver_one(
    State(app): State<Arc<App>>,
    Segments(GroupSegment(group), InsertionIdSegment(id)): Segments<
        GroupSegment,
        InsertionIdSegment,
    >,
    request: CommandRequest,
) -> Result<Response, Problem> {
    start(&app, &request, RedeliveryScope::One(group, id)).await
}

async fn start(
    app: &App,
    request: &CommandRequest,
    scope: RedeliveryScope,
) -> Result<Response, Problem> {
    action(&request.query, &["reDeliver"])?;
    let filter = filter::read(&request.query)?;
    let redelivery = RedeliveryRun { scope, filter, limit: filter::limit(&request.query)? };
    let (store, dispatcher) = (app.store.clone(), app.dispatcher.clone());
    let kind = redelivery.kind();
    let begin = |progress| redelivery.run(store, dispatcher, progress);
    started(app, kind, &request.actor, begin).await
}
