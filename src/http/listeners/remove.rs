//! Removing a listener.

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
        schema,
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
/// `pending` says what becomes of the events that wait for it. The default loses none.
#[utoipa::path(
    delete, path = "/listeners/{group}", tag = "listeners", operation_id = "removeListener",
    params(
        ("group" = String, Path, description = "The listener's group."),
        ("pending" = Option<schema::PendingSchema>, Query, description = "What becomes of the events that wait for it; `keep` where it is not given."),
        ("reason" = Option<String>, Query, description = "Why it is removed; kept in the history."),
        ("wait" = Option<String>, Query, description = "Wait for the broker to follow, at most so long (up to 60s).", example = "5s"),
        ("If-Match" = Option<String>, Header, description = "Only when the roster has this version, as its ETag has it.", nullable = false),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command: sending it again changes nothing and answers the same.", nullable = false),
    ),
    responses((status = 204, description = "The listener is out of the roster.",
        headers(("ETag" = String, description = "The roster's version, in quotes.")))),
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
    let version = last.ok_or_else(|| Problem::internal("a removal led to no event"))?.version;
    if let Some(wait) = wait {
        app.reconciler.wait_for(version, wait).await;
    }
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag(version))]).into_response())
}
