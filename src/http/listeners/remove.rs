//! Removal of a listener.

use crate::{
    domain::{
        command::{Command, Pending},
        event::Version,
        listener::Delivery,
        name::GroupName,
        report::TopologyStatus,
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
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use std::{sync::Arc, time::Duration};

/// Header that tells, after a wait, whether nothing is left to do about the listener's queue.
const TOPOLOGY: HeaderName = HeaderName::from_static("hearken-topology");

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
        headers(("ETag" = String, description = "Version of the roster, in quotes."),
            ("Hearken-Topology" = String, description = "With `wait`: `converged` when the queue of the listener is unbound, and deleted if its events are not kept; `pending` when that did not happen in time. hearken goes on by itself.")))),
    extensions(("x-problems" = json!(["invalid-name", "not-configured", "required-here",
        "stale-version", "command-reused", "body-too-large", "timeout", "contention",
        "outdated-node", "store-unavailable"]))),
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
    let mut headers = HeaderMap::from_iter([(header::ETAG, etag(version))]);
    if let Some(wait) = wait {
        let topology = wait_until_gone(&app, version, wait).await;
        headers.insert(TOPOLOGY, HeaderValue::from_static(topology));
    }
    Ok((StatusCode::NO_CONTENT, headers).into_response())
}

/// Waits until nothing is left to do about the queue of the listener that a version removed.
/// Returns the value of the header that tells whether that is so.
async fn wait_until_gone(app: &App, version: Version, wait: Duration) -> &'static str {
    let roster = app.roster.known();
    let removed = roster.tombstones().iter().find(|(_, tombstone)| tombstone.version == version);
    let queue = removed.filter(|(_, tombstone)| tombstone.listener.delivery == Delivery::Once).map(
        |(id, removed)| app.roster.layout().work(&removed.listener.bus, &id.group, id.generation),
    );
    let is_gone = |status: &TopologyStatus| match &queue {
        Some(queue) => status.has_let_go(queue, version),
        None => status.reconciled_version >= version,
    };
    if app.reconciler.wait_until(wait, is_gone).await { "converged" } else { "pending" }
}
