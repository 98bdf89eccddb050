//! `/healthcheck`: the components, as in James's WebAdmin. Open, and changes nothing.

use super::{
    App,
    parameters::{Query, Segment},
    problem::{Problem, kinds},
};
use crate::health::{Check, Status};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// How something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Grade {
    /// It works.
    Healthy,
    /// It works in part, or will not for long.
    Degraded,
    /// It does not work.
    Unhealthy,
}

impl From<Status> for Grade {
    fn from(status: Status) -> Self {
        match status {
            Status::Healthy => Self::Healthy,
            Status::Degraded => Self::Degraded,
            Status::Unhealthy => Self::Unhealthy,
        }
    }
}

/// A component's name.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Component {
    /// Its name.
    #[schema(example = "Listener topology")]
    component_name: String,
    /// Its name, escaped for a URL.
    #[schema(example = "Listener%20topology")]
    escaped_component_name: String,
}

impl Component {
    fn new(name: &str) -> Self {
        Self { component_name: name.to_owned(), escaped_component_name: name.replace(' ', "%20") }
    }
}

/// The state of a component.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Its name.
    component_name: String,
    /// Its name, escaped for a URL.
    escaped_component_name: String,
    /// How it is.
    status: Grade,
    /// Why it is not healthy.
    #[schema(required = true)]
    cause: Option<String>,
}

impl From<Check> for CheckReport {
    fn from(check: Check) -> Self {
        let Component { component_name, escaped_component_name } = Component::new(check.name);
        let (status, cause) = (check.status.into(), check.cause);
        Self { component_name, escaped_component_name, status, cause }
    }
}

/// The state of all components.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthReport {
    /// The worst of them.
    status: Grade,
    /// Each of them.
    checks: Vec<CheckReport>,
}

/// Check the components
#[utoipa::path(
    get, path = "/healthcheck", tag = "operations", operation_id = "checkHealth",
    params(
        ("check" = Vec<String>, Query, description = "Only these components; may be repeated."),
        ("strict" = Option<bool>, Query, description = "Answer 503 when a component is degraded, too."),
    ),
    responses(
        (status = 200, description = "All work, or some in part.", body = HealthReport),
        (status = 503, description = "Some do not work.", body = HealthReport),
    ),
    extensions(("x-problems" = json!(["not-found"]))),
)]
pub(crate) async fn check(State(app): State<Arc<App>>, query: Query) -> Result<Response, Problem> {
    let strict = query.flag("strict")?;
    let all = app.health.names();
    let wanted = query.all("check");
    let unknown: Vec<_> =
        wanted.iter().filter(|name| !all.contains(&name.as_str())).cloned().collect();
    if !unknown.is_empty() {
        let detail = format!("Components with name {} cannot be found", unknown.join(", "));
        return Err(Problem::new(&kinds::NOT_FOUND, detail).with("known", all));
    }
    let is_wanted = |name: &&str| wanted.is_empty() || wanted.iter().any(|wanted| wanted == name);
    let names: Vec<&'static str> = all.into_iter().filter(is_wanted).collect();
    let checks = app.health.check(&names).await;
    let worst = checks.iter().map(|check| check.status).max().unwrap_or(Status::Healthy);
    let checks = checks.into_iter().map(CheckReport::from).collect();
    let report = HealthReport { status: worst.into(), checks };
    Ok((status(worst, strict), Json(report)).into_response())
}

/// List the components
#[utoipa::path(
    get, path = "/healthcheck/checks", tag = "operations", operation_id = "listChecks",
    responses((status = 200, description = "The components.", body = Vec<Component>)),
)]
pub(crate) async fn checks(State(app): State<Arc<App>>) -> Json<Vec<Component>> {
    Json(app.health.names().into_iter().map(Component::new).collect())
}

/// Check one component
#[utoipa::path(
    get, path = "/healthcheck/checks/{name}", tag = "operations", operation_id = "checkComponent",
    params(
        ("name" = String, Path, description = "The component."),
        ("strict" = Option<bool>, Query, description = "Answer 503 when it is degraded, too."),
    ),
    responses(
        (status = 200, description = "It works, or in part.", body = CheckReport),
        (status = 503, description = "It does not work.", body = CheckReport),
    ),
    extensions(("x-problems" = json!(["not-found"]))),
)]
pub(crate) async fn check_one(
    State(app): State<Arc<App>>,
    Segment(name): Segment<String>,
    query: Query,
) -> Result<Response, Problem> {
    let strict = query.flag("strict")?;
    let all = app.health.names();
    let known = all.iter().copied().find(|known| *known == name);
    let check = match known {
        Some(known) => app.health.check(&[known]).await.pop(),
        None => None,
    };
    let check = check.ok_or_else(|| {
        let detail = format!("Component with name {name} cannot be found");
        Problem::new(&kinds::NOT_FOUND, detail).with("known", all)
    })?;
    Ok((status(check.status, strict), Json(CheckReport::from(check))).into_response())
}

fn status(worst: Status, strict: bool) -> StatusCode {
    match worst {
        Status::Healthy => StatusCode::OK,
        Status::Degraded if !strict => StatusCode::OK,
        Status::Degraded | Status::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
    }
}
