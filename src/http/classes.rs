//! `/classes`: the classes that this node can instantiate.

use super::{App, schema};
use crate::{domain::name::ClassName, listeners::Source};
use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// Catalog of this node.
#[derive(Debug, Serialize, ToSchema)]
pub struct Classes {
    /// Classes of the catalog, in the order of their names.
    classes: Vec<ClassView>,
}

/// Class that listeners are instantiated from.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Class)]
pub struct ClassView {
    /// Name of the class.
    #[schema(value_type = String, example = "log")]
    class: ClassName,
    /// Origin of the class.
    #[schema(value_type = schema::ClassSourceSchema)]
    source: Source,
    /// What a listener of the class does.
    description: String,
    /// JSON Schema of the configuration of its listeners.
    #[schema(value_type = Object)]
    configuration: Value,
}

/// List the classes that this node knows
#[utoipa::path(
    get, path = "/classes", tag = "listeners", operation_id = "listClasses",
    responses((status = 200, description = "Catalog of this node.", body = Classes)),
)]
pub(crate) async fn classes(State(app): State<Arc<App>>) -> Json<Classes> {
    let classes = app.catalog.iter().map(|(name, source, class)| ClassView {
        class: name.clone(),
        source,
        description: class.description().to_owned(),
        configuration: class.schema(),
    });
    Json(Classes { classes: classes.collect() })
}
