//! Calls of supervisors and scrapers, which need no token: liveness, readiness and metrics. The
//! metrics contain the names of groups and buses, and nothing else that users entered.

use super::{App, auth::AnswerAudience, parameters::Query, problem::Problem, schema, scrape};
use crate::{
    background::LoopWatch,
    domain::report::{ListenerState, ListenerStatus, NodeState},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Liveness of the process.
#[derive(Debug, Serialize, ToSchema)]
pub struct Liveness {
    /// `alive`, or `broken` when the process must be started again.
    #[schema(example = "alive")]
    status: &'static str,
    /// The loop that ended, if the process is broken.
    #[serde(skip_serializing_if = "Option::is_none")]
    cause: Option<String>,
}

/// Readiness of this node.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// State of the node.
    #[schema(value_type = schema::NodeStateSchema)]
    state: NodeState,
    /// Listeners that do not run on this node. Each has its cause when the request has a token.
    #[schema(value_type = Vec<schema::ListenerStatusSchema>)]
    listeners: Vec<ListenerStatus>,
}

/// Check that the process works
///
/// A process whose loops have all kept running is alive. When one of them has panicked, the process
/// is broken and ends by itself within a short time.
#[utoipa::path(
    get, path = "/livez", tag = "operations", operation_id = "isAlive",
    responses(
        (status = 200, description = "The process works.", body = Liveness),
        (status = 503, description = "A loop of the process has ended; the process ends too.", body = Liveness),
    ),
)]
pub(crate) async fn livez() -> (StatusCode, Json<Liveness>) {
    match LoopWatch::of_process().ended() {
        None => (StatusCode::OK, Json(Liveness { status: "alive", cause: None })),
        Some(ended) => {
            let cause = Some(ended.to_string());
            (StatusCode::SERVICE_UNAVAILABLE, Json(Liveness { status: "broken", cause }))
        }
    }
}

/// Check that this node takes requests
///
/// A node that has started takes requests until it stops. A listener that cannot run degrades the
/// node and does not change that, so that a load balancer keeps the node.
#[utoipa::path(
    get, path = "/readyz", tag = "operations", operation_id = "isReady",
    params(("strict" = Option<bool>, Query, description = "Answer 503 also when the node is degraded.")),
    responses(
        (status = 200, description = "The node takes requests.", body = Readiness),
        (status = 503, description = "The node starts or stops; with `strict`, also: a listener cannot run on it.", body = Readiness),
    ),
)]
pub(crate) async fn readyz(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    query: Query,
) -> Result<(StatusCode, Json<Readiness>), Problem> {
    let state = app.node.state();
    let status = match state {
        NodeState::Ready => StatusCode::OK,
        NodeState::Degraded if !query.flag("strict")? => StatusCode::OK,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    let mut listeners = app.node.listeners();
    let as_asked = [ListenerState::Running, ListenerState::Paused];
    listeners.retain(|listener| !as_asked.contains(&listener.state));
    if app.tokens.audience(&headers) == AnswerAudience::Public {
        for listener in &mut listeners {
            listener.cause = None;
        }
    }
    Ok((status, Json(Readiness { state, listeners })))
}

/// Read the metrics in the format of Prometheus
#[utoipa::path(
    get, path = "/metrics", tag = "operations", operation_id = "getMetrics",
    responses((status = 200, description = "Metrics as OpenMetrics text.", body = String,
        content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")),
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    scrape::refresh(&app).await;
    let content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, content_type)], app.metrics.encode())
}
