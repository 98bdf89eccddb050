//! What a supervisor and a scraper ask, without a token: is it alive, may it have traffic, and
//! its metrics, which name groups and buses and nothing else that a user gave.

use super::{App, schema};
use crate::domain::report::{ListenerState, ListenerStatus, NodeState};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use utoipa::ToSchema;

/// How long a scrape waits for the database. Scrapers commonly give up after ten seconds.
const COUNTING: Duration = Duration::from_secs(2);

/// The process answers.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// Always `alive`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// Whether this node may have traffic.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// How the node is.
    #[schema(value_type = schema::NodeStateSchema)]
    state: NodeState,
    /// The listeners that do not run here, each with its cause.
    #[schema(value_type = Vec<schema::ListenerStatusSchema>)]
    listeners: Vec<ListenerStatus>,
}

/// Whether the process answers
#[utoipa::path(
    get, path = "/livez", tag = "operations", operation_id = "isAlive",
    responses((status = 200, description = "It does.", body = Liveness)),
)]
pub(crate) async fn livez() -> Json<Liveness> {
    Json(Liveness { status: "alive" })
}

/// Whether this node runs every listener of the roster
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "isReady",
    responses(
        (status = 200, description = "It does.", body = Readiness),
        (status = 503, description = "It does not; the body says why.", body = Readiness),
    ),
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let state = app.node.state();
    let status = match state {
        NodeState::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut listeners = app.node.listeners();
    listeners.retain(|listener| listener.state != ListenerState::Running);
    (status, Json(Readiness { state, listeners }))
}

/// The metrics, as Prometheus reads them
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "getMetrics",
    responses((status = 200, description = "OpenMetrics text.", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")),
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    if app.metrics.wants_dead_letters() {
        // One query now and then. Without an answer in time the scraper is told what is known.
        let counts = tokio::time::timeout(COUNTING, app.store.dead_letter_counts()).await;
        if let Ok(Ok(counts)) = counts {
            let counts = counts.iter().map(|of| (&of.bus, &of.group, of.count));
            app.metrics.dead_letters(counts);
        }
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], app.metrics.encode())
}
