//! Pause and resumption of a listener.

use crate::{
    domain::{command::Command, name::GroupName},
    http::{
        App,
        body::{Body, Fields},
        parameters::Segment,
        precondition::{CommandRequest, check_reason, etag},
        problem::Problem,
        schema::CommandHeaderParams,
        tasks::action,
    },
};
use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use utoipa::ToSchema;

/// Why a listener is paused or resumed. The body may be absent.
#[derive(ToSchema)]
#[schema(example = json!({"reason": "the indexer is being upgraded"}))]
pub struct Pause {
    /// Reason for the command, kept in the history.
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}

/// Pause or resume a listener
///
/// While a listener is paused, no node consumes for it, and its queue stays bound and holds the
/// events. Running executions finish. An `every-node` listener has no queue, so it misses the
/// events of the pause. Pausing a paused listener, or resuming one that is not paused, is a success
/// and records nothing.
#[utoipa::path(
    post, path = "/listeners/{group}", tag = "listeners", operation_id = "pauseListener",
    params(
        ("group" = String, Path, description = "Group of the listener."),
        ("action" = String, Query, description = "`pause` or `resume`.", example = "pause"),
        CommandHeaderParams,
    ),
    request_body = Option<Pause>,
    responses((status = 204, description = "The roster has the pause, or its end.",
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "invalid-body", "not-configured", "required-here",
        "stale-version", "command-reused", "body-too-large", "unsupported-media-type", "timeout",
        "contention", "outdated-node", "store-unavailable"]))),
)]
pub(crate) async fn pause_or_resume(
    State(app): State<Arc<App>>,
    Segment(group): Segment<GroupName>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let command = match action(&request.query, &["pause", "resume"])? {
        "pause" => Command::PauseListener { group },
        _ => Command::ResumeListener { group },
    };
    let reason = read_reason(&request, &body)?;
    let outcome = app.roster.execute(command, request.audited(&body, reason)?).await?;
    Ok((StatusCode::NO_CONTENT, [(header::ETAG, etag(outcome.version))]).into_response())
}

fn read_reason(request: &CommandRequest, body: &Body) -> Result<Option<String>, Problem> {
    if body.0.is_empty() {
        return Ok(None);
    }
    let mut fields = Fields::from_body(&request.headers, body)?;
    let reason = fields.checked_text("reason", check_reason)?;
    fields.end()?;
    Ok(reason)
}
