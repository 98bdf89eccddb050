//! Calls of supervisors and scrapers, which need no token: liveness, readiness and metrics. The
//! metrics contain the names of groups and buses, and nothing else that users entered.

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

/// Time that a scrape waits for the database. Scrapers commonly give up after ten seconds.
const COUNTING: Duration = Duration::from_secs(2);

/// Liveness of the process.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// Always `alive`.
    #[schema(example = "alive")]
    status: &'static str,
}

/// Readiness of this node.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// State of the node.
    #[schema(value_type = schema::NodeStateSchema)]
    state: NodeState,
    /// Listeners that do not run on this node, each with its cause.
    #[schema(value_type = Vec<schema::ListenerStatusSchema>)]
    listeners: Vec<ListenerStatus>,
}

/// Check that the process answers
#[utoipa::path(
    get, path = "/livez", tag = "operations", operation_id = "isAlive",
    responses((status = 200, description = "The process answers.", body = Liveness)),
)]
pub(crate) async fn livez() -> Json<Liveness> {
    Json(Liveness { status: "alive" })
}

/// Check that this node runs every listener of the roster
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "isReady",
    responses(
        (status = 200, description = "The node runs every listener.", body = Readiness),
        (status = 503, description = "The node does not run every listener; the body has the causes.", body = Readiness),
    ),
)]
pub(crate) async fn readyz(State(app): State<Arc<App>>) -> (StatusCode, Json<Readiness>) {
    let state = app.node.state();
    let status = match state {
        NodeState::Ready => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut listeners = app.node.listeners();
    let as_asked = [ListenerState::Running, ListenerState::Paused];
    listeners.retain(|listener| !as_asked.contains(&listener.state));
    (status, Json(Readiness { state, listeners }))
}

/// Read the metrics in the format of Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "getMetrics",
    responses((status = 200, description = "Metrics as OpenMetrics text.", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")),
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    if app.metrics.wants_dead_letters() {
        // One query every few seconds. Without an answer in time, the scraper gets the last counts.
        let counts = tokio::time::timeout(COUNTING, app.store.dead_letter_counts()).await;
        if let Ok(Ok(counts)) = counts {
            let counts = counts.iter().map(|entry| (&entry.bus, &entry.group, entry.count));
            app.metrics.dead_letters(counts);
        }
    }
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], app.metrics.encode())
}
