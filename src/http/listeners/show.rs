//! Views of the roster and of one listener.

use super::{
    diff,
    view::{Backlog, ListenerView},
};
use crate::{
    domain::{
        condition::ListenerEvidence,
        depth::Depth,
        event::Version,
        name::{BusName, ClassName, GroupName},
        report::{ListenerState, NodeState},
    },
    http::{
        App,
        parameters::{Query, Segment},
        precondition::etag,
        problem::Problem,
        schema,
    },
    store::dead_letters::DeadLetterFilter,
};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use time::OffsetDateTime;
use tokio::time::timeout;
use utoipa::ToSchema;

/// Time that the broker may take to answer the depth of a queue. Without an answer, the listener is
/// shown without its backlog.
const DEPTH_LIMIT: Duration = Duration::from_secs(3);

/// Roster at a version.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Roster)]
pub struct RosterView {
    /// Version of the roster; 0 before the first change.
    #[schema(value_type = u64)]
    version: Version,
    /// Listeners of the roster, by group.
    listeners: Vec<ListenerView>,
}

/// Listener with its state in the cluster.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ListenerDetail {
    #[serde(flatten)]
    listener: ListenerView,
    /// State of the listener on each node that is up.
    nodes: Vec<ListenerOnNode>,
    /// Contents of the work queue; null if there is no work queue or the broker does not answer.
    #[schema(required = true)]
    backlog: Option<Backlog>,
    /// Number of dead letters of the group; `GET /events/deadLetter?group=` lists them.
    dead_letters: u64,
}

/// State of a listener on a node.
#[derive(Debug, Serialize, ToSchema)]
pub struct ListenerOnNode {
    /// Id of the node.
    id: String,
    /// State of the listener on the node.
    #[schema(value_type = schema::ListenerStateSchema)]
    state: ListenerState,
    /// Why the listener does not run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cause: Option<String>,
    /// When the listener entered this state.
    #[serde(with = "time::serde::rfc3339")]
    since: OffsetDateTime,
}

/// List the listeners
///
/// Lists the listeners of the present roster, or of an earlier version. The `ETag` is the version,
/// for use in `If-Match`. It does not tell whether an answer changed: the state of the topology
/// and of the nodes changes without a new version. So no answer may be cached, and `If-None-Match`
/// has no effect.
#[utoipa::path(
    get, path = "/listeners", tag = "listeners", operation_id = "listListeners",
    params(
        ("class" = Option<String>, Query, description = "Only listeners of this class."),
        ("bus" = Option<String>, Query, description = "Only listeners of this bus."),
        ("atVersion" = Option<u64>, Query, description = "Show the roster at this version."),
    ),
    responses((status = 200, description = "The roster.", body = RosterView,
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["not-found", "store-unavailable"]))),
)]
pub(crate) async fn list(State(app): State<Arc<App>>, query: Query) -> Result<Response, Problem> {
    let class = query.read::<ClassName>("class", "a class name")?;
    let bus = query.read::<BusName>("bus", "a bus name")?;
    let at = query.read::<Version>("atVersion", "a version of the roster")?;
    let now = app.roster.current().await?;
    let roster = diff::at(&app, &now, at.unwrap_or(now.version())).await?;
    let status = app.store.topology_status().await?;
    let is_present = roster.version() == now.version();
    // The reports of the nodes tell nothing about an earlier version.
    let nodes = if is_present { app.store.nodes().await? } else { Vec::new() };
    let evidence = ListenerEvidence::new(app.roster.layout(), &roster, &status, &nodes);
    let listeners = roster.listeners().values().filter(|configured| {
        let listener = &configured.listener;
        class.as_ref().is_none_or(|class| *class == listener.class)
            && bus.as_ref().is_none_or(|bus| *bus == listener.bus)
    });
    let listeners = listeners.map(|configured| {
        let view = ListenerView::new(&app, configured, &evidence);
        if is_present { view } else { ListenerView { conditions: Vec::new(), ..view } }
    });
    let listeners = listeners.collect();
    let version = roster.version();
    Ok(([(header::ETAG, etag(version))], Json(RosterView { version, listeners })).into_response())
}

/// Show a listener
///
/// Shows the settings, the state on each node and the events that wait.
#[utoipa::path(
    get, path = "/listeners/{group}", tag = "listeners", operation_id = "getListener",
    params(("group" = String, Path, description = "Group of the listener.")),
    responses((status = 200, description = "The listener.", body = ListenerDetail,
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "not-configured", "store-unavailable"]))),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Segment(group): Segment<GroupName>,
) -> Result<Response, Problem> {
    let roster = app.roster.current().await?;
    let configured = roster.configured(&group)?;
    let status = app.store.topology_status().await?;
    let nodes = app.store.nodes().await?;
    let evidence = ListenerEvidence::new(app.roster.layout(), &roster, &status, &nodes);
    let listener = ListenerView::new(&app, configured, &evidence);
    let up = nodes.into_iter().filter(|node| node.state != NodeState::Gone);
    let nodes = up.filter_map(|node| {
        let here = node.listeners.into_iter().find(|here| here.group == group)?;
        Some(ListenerOnNode {
            id: node.id,
            state: here.state,
            cause: here.cause,
            since: here.since,
        })
    });
    let backlog = match configured.work_queue(app.roster.layout()) {
        None => None,
        Some(queue) => timeout(DEPTH_LIMIT, backlog(&app, &queue)).await.ok().flatten(),
    };
    let filter = DeadLetterFilter { group: Some(group.clone()), ..DeadLetterFilter::default() };
    let dead_letters = app.store.count_dead_letters(&filter).await?;
    let detail = ListenerDetail { listener, nodes: nodes.collect(), backlog, dead_letters };
    Ok(([(header::ETAG, etag(roster.version()))], Json(detail)).into_response())
}

async fn backlog(app: &App, queue: &str) -> Option<Backlog> {
    let Depth { ready, unacked, consumers } = app.reconciler.depth(queue).await?;
    let oldest = if ready > 0 { app.reconciler.oldest(queue).await } else { None };
    let oldest_seconds = oldest.map(|oldest| oldest.as_secs());
    Some(Backlog { ready, unacked, consumers, oldest_seconds })
}
