//! `/nodes`: the nodes of the cluster.

use super::{App, problem::Problem, schema};
use crate::domain::report::NodeStatus;
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// The nodes of the cluster.
#[derive(Debug, Serialize, ToSchema)]
pub struct Nodes {
    /// Nodes, by id.
    #[schema(value_type = Vec<schema::NodeSchema>)]
    nodes: Vec<NodeStatus>,
}

/// List the nodes
///
/// Each node has its state and its listeners; a listener that does not run has its cause.
#[utoipa::path(
    get, path = "/nodes", tag = "operations", operation_id = "listNodes",
    responses((status = 200, description = "The nodes of the cluster.", body = Nodes)),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn nodes(State(app): State<Arc<App>>) -> Result<Json<Nodes>, Problem> {
    Ok(Json(Nodes { nodes: app.store.nodes().await? }))
}
