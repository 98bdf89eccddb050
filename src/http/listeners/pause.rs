//! Pause and resumption of a listener.

use crate::{
    domain::{
        command::Command,
        event::Version,
        name::GroupName,
        report::{ListenerState, NodeState, NodeStatus},
    },
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
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::sync::Arc;
use utoipa::ToSchema;

/// Header that tells, after a wait, whether the nodes have followed.
const NODES: HeaderName = HeaderName::from_static("hearken-nodes");

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
/// events of the pause. With `wait`, the answer comes when each node that lives has followed.
/// Pausing a paused listener, or resuming one that is not paused, is a success and records nothing.
#[utoipa::path(
    post, path = "/listeners/{group}", tag = "listeners", operation_id = "pauseListener",
    params(
        ("group" = String, Path, description = "Group of the listener."),
        ("action" = String, Query, description = "`pause` or `resume`.", example = "pause"),
        ("wait" = Option<String>, Query, description = "Wait until each node that lives has followed, at most for this time (up to 60s).", example = "5s"),
        CommandHeaderParams,
    ),
    request_body = Option<Pause>,
    responses((status = 204, description = "The roster has the pause, or its end.",
        headers(("ETag" = String, description = "Version of the roster, in quotes."),
            ("Hearken-Nodes" = String, description = "With `wait`: `followed` when each node that lives has stopped consuming, or consumes again; `pending` when that did not happen in time. The nodes go on by themselves.")))),
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
    let (command, goal): (_, fn(ListenerState) -> bool) =
        match action(&request.query, &["pause", "resume"])? {
            "pause" => (Command::PauseListener { group: group.clone() }, is_paused),
            _ => (Command::ResumeListener { group: group.clone() }, is_resumed),
        };
    let (reason, wait) = (read_reason(&request, &body)?, request.wait()?);
    let version = app.roster.execute(command, request.audited(&body, reason)?).await?.version;
    let mut headers = HeaderMap::from_iter([(header::ETAG, etag(version))]);
    if let Some(wait) = wait {
        let has_followed = |node: &NodeStatus| follows(node, version, &group, goal);
        let all_followed = |nodes: &[NodeStatus]| nodes.iter().all(has_followed);
        let is_done = app.node_reports.wait_until(wait, all_followed).await;
        let value = if is_done { "followed" } else { "pending" };
        headers.insert(NODES, HeaderValue::from_static(value));
    }
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// Whether a node has followed the pause or the resumption of a listener at a version. A node that
/// is gone consumes nothing.
fn follows(
    node: &NodeStatus,
    version: Version,
    group: &GroupName,
    goal: fn(ListenerState) -> bool,
) -> bool {
    let mut listeners = node.listeners.iter().filter(|listener| listener.group == *group);
    let is_there = listeners.all(|listener| goal(listener.state));
    node.state == NodeState::Gone || (node.roster_version >= version && is_there)
}

fn is_paused(state: ListenerState) -> bool {
    state == ListenerState::Paused
}

/// Whether a listener consumes again, or cannot for a reason of its own.
fn is_resumed(state: ListenerState) -> bool {
    !matches!(state, ListenerState::Paused | ListenerState::Starting)
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
