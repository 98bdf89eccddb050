//! `/classes`: what this node can instantiate.

use super::{App, schema};
use crate::{domain::name::ClassName, listeners::Source};
use axum::{Json, extract::State};
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;
use utoipa::ToSchema;

/// The node's catalog.
#[derive(Debug, Serialize, ToSchema)]
pub struct Classes {
    /// Its classes, by name.
    classes: Vec<ClassView>,
}

/// A class of listeners.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Class)]
pub struct ClassView {
    /// Its name.
    #[schema(value_type = String, example = "log")]
    class: ClassName,
    /// Where it comes from.
    #[schema(value_type = schema::ClassSourceSchema)]
    source: Source,
    /// What it does.
    description: String,
    /// The JSON Schema of its configuration.
    #[schema(value_type = Object)]
    configuration: Value,
}

/// List the classes this node knows
#[utoipa::path(
    get, path = "/classes", tag = "listeners", operation_id = "listClasses",
    responses((status = 200, description = "The node's catalog.", body = Classes)),
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
