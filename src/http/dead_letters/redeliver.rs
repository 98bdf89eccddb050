//! Redelivery of dead letters. Each call starts a task, as in James.

use super::filter::{self, GroupSegment, InsertionIdSegment};
use crate::{
    dispatch::{RedeliveryRun, RedeliveryScope},
    http::{
        App,
        parameters::{Segment, Segments},
        precondition::CommandRequest,
        problem::Problem,
        schema::DeadLetterFilterParams,
        tasks::{Submitted, action, start_reporting_task},
    },
};
use axum::{extract::State, response::Response};
use std::sync::Arc;

/// Redeliver dead letters
///
/// Redelivers the entries of every group, those of `parked` and `dispatch-failure` last. An entry
/// is removed once the broker has confirmed its event. The task is `failed` when entries are left.
#[utoipa::path(
    post, path = "/events/deadLetter", tag = "dead letters", operation_id = "redeliverDeadLetters",
    params(
        ("action" = String, Query, description = "Must be `reDeliver`.", example = "reDeliver"),
        ("limit" = Option<u64>, Query, description = "Largest number of entries."),
        ("group" = Option<String>, Query, description = "Only entries of this group."),
        DeadLetterFilterParams,
    ),
    responses((status = 201, description = "A task redelivers the entries.", body = Submitted,
        headers(("Location" = String, description = "Address of the task.")))),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn redeliver_all(
    State(app): State<Arc<App>>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    let group = filter::read(&request.query)?.group;
    start_redelivery(&app, &request, group.map_or(RedeliveryScope::All, RedeliveryScope::Group))
        .await
}

/// Redeliver the dead letters of a group
///
/// An entry is removed once the broker has confirmed its event. The task is `failed` when entries
/// are left.
#[utoipa::path(
    post, path = "/events/deadLetter/groups/{group}", tag = "dead letters", operation_id = "redeliverDeadLettersOfGroup",
    params(
        ("group" = String, Path, description = "The group."),
        ("action" = String, Query, description = "Must be `reDeliver`.", example = "reDeliver"),
        ("limit" = Option<u64>, Query, description = "Largest number of entries."),
        DeadLetterFilterParams,
    ),
    responses((status = 201, description = "A task redelivers the entries.", body = Submitted,
        headers(("Location" = String, description = "Address of the task.")))),
    extensions(("x-problems" = json!(["invalid-name", "store-unavailable"]))),
)]
pub(crate) async fn redeliver_group(
    State(app): State<Arc<App>>,
    Segment(GroupSegment(group)): Segment<GroupSegment>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    start_redelivery(&app, &request, RedeliveryScope::Group(group)).await
}

/// Redeliver a dead letter
///
/// The entry is removed once the broker has confirmed its event. The task is `failed` when the
/// entry is left. A missing entry is not an error.
#[utoipa::path(
    post, path = "/events/deadLetter/groups/{group}/{id}", tag = "dead letters", operation_id = "redeliverDeadLetter",
    params(
        ("group" = String, Path, description = "The group."),
        ("id" = Uuid, Path, description = "Id of the entry."),
        ("action" = String, Query, description = "Must be `reDeliver`.", example = "reDeliver"),
    ),
    responses((status = 201, description = "A task redelivers the entry.", body = Submitted,
        headers(("Location" = String, description = "Address of the task.")))),
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
    start_redelivery(&app, &request, RedeliveryScope::One(group, id)).await
}

async fn start_redelivery(
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
    start_reporting_task(app, kind, &request.actor, begin).await
}
