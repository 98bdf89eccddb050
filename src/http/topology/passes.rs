//! `/topology/passes`: what hearken did to the broker, and when.

use crate::{
    domain::report::PassRecord,
    http::{App, parameters::Query, problem::Problem, schema},
};
use axum::{Json, extract::State};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// A page of passes.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Passes)]
pub struct PassPage {
    /// Passes that changed something, oldest first.
    #[schema(value_type = Vec<schema::PassSchema>)]
    passes: Vec<PassRecord>,
    /// The `after` of the next page, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<u64>,
}

/// List the passes that changed something
#[utoipa::path(
    get, path = "/topology/passes", tag = "topology", operation_id = "listPasses",
    params(
        ("after" = Option<u64>, Query, description = "Only passes after this one."),
        ("limit" = Option<u32>, Query, description = "At most so many, 1 to 1000; 100 where it is not given.", minimum = 1, maximum = 1000),
    ),
    responses((status = 200, description = "A page of passes.", body = PassPage)),
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
