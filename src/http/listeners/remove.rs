//! Removal of a listener.

use crate::{
    domain::{
        command::{Command, Pending},
        name::GroupName,
    },
    http::{
        App,
        body::Body,
        parameters::{Segment, invalid_parameter},
        precondition::{CommandRequest, etag},
        problem::Problem,
        schema::{self, CommandHeaderParams, WaitParams},
    },
};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;

/// Remove a listener
///
/// `pending` decides what happens to the events that wait for the listener. The default loses no
/// event.
#[utoipa::path(
    delete, path = "/listeners/{group}", tag = "listeners", operation_id = "removeListener",
    params(
        ("group" = String, Path, description = "Group of the listener."),
        ("pending" = Option<schema::PendingSchema>, Query, description = "What happens to the events that wait for the listener; `keep` if absent."),
        ("reason" = Option<String>, Query, description = "Reason for the removal, kept in the history."),
        WaitParams,
        CommandHeaderParams,
    ),
    responses((status = 204, description = "The roster no longer has the listener.",
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "not-configured", "required-here",
        "stale-version", "command-reused", "body-too-large", "timeout", "contention", "store-unavailable"]))),
)]
pub(crate) async fn remove(
    State(app): State<Arc<App>>,
    Segment(group): Segment<GroupName>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let pending = match request.query.text("pending") {
        None | Some("keep") => Pending::Keep,
        Some("drain") => Pending::Drain,
        Some("discard") => Pending::Discard,
        Some(_) => {
            let detail = "query parameter pending must be keep, drain or discard";
            return Err(invalid_parameter("pending", detail.into()));
        }
    };
    let wait = request.wait()?;
    let audited = request.audited(&body, request.reason()?)?;
    let outcome = app.roster.execute(Command::RemoveListener { group, pending }, audited).await?;
    let last = outcome.events.last();
    let version = last
        .ok_or_else(|| Problem::internal("the command to remove a listener recorded no event"))?
        .version;
    if let Some(wait) = wait {
        app.reconciler.wait_for(version, wait).await;
    }
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag(version))]).into_response())
}
