//! `/topology/passes`: the passes that changed the broker.

use crate::{
    domain::report::PassRecord,
    http::{App, parameters::Query, problem::Problem, schema, schema::PageLimitParams},
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Page of passes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Passes)]
pub struct PassPage {
    /// Passes that changed something, oldest first.
    #[schema(value_type = Vec<schema::PassSchema>)]
    passes: Vec<PassRecord>,
    /// Value of `after` for the next page; absent on the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<u64>,
}

/// List the passes that changed something
#[utoipa::path(
    get, path = "/topology/passes", tag = "topology", operation_id = "listPasses",
    params(
        ("after" = Option<u64>, Query, description = "Only passes after the pass with this id."),
        PageLimitParams,
    ),
    responses((status = 200, description = "Page of passes.", body = PassPage)),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn passes(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<PassPage>, Problem> {
    let page = query.page()?;
    let mut passes = app.store.passes(page.after, page.with_one_more()).await?;
    let next = page.cut(&mut passes, |pass| pass.id);
    Ok(Json(PassPage { passes, next }))
}
