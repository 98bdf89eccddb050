//! `/healthcheck`: health of the components, as in James's WebAdmin. Changes nothing. Without a
//! token, it tells the grades of the components and no causes.

use super::{
    App,
    auth::AnswerAudience,
    parameters::{Query, Segment},
    problem::{Problem, kinds},
    schema,
};
use crate::health::{Check, Component, Grade};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// Name of a component.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Component)]
pub struct ComponentView {
    /// Name of the component.
    #[schema(example = "Listener topology")]
    component_name: String,
    /// Name of the component, escaped for a URL.
    #[schema(example = "Listener%20topology")]
    escaped_component_name: String,
}

impl From<Component> for ComponentView {
    fn from(component: Component) -> Self {
        let name = component.name();
        Self { component_name: name.to_owned(), escaped_component_name: name.replace(' ', "%20") }
    }
}

/// Health of a component.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckReport {
    /// Name of the component.
    component_name: String,
    /// Name of the component, escaped for a URL.
    escaped_component_name: String,
    /// Grade of the component.
    #[schema(value_type = schema::GradeSchema)]
    status: Grade,
    /// Why the component is not healthy; null when it is, and when the request has no token.
    #[schema(required = true)]
    cause: Option<String>,
}

impl CheckReport {
    fn new(check: Check, audience: AnswerAudience) -> Self {
        let ComponentView { component_name, escaped_component_name } = check.component.into();
        let cause = check.cause.filter(|_| audience == AnswerAudience::Known);
        let status = check.grade;
        Self { component_name, escaped_component_name, status, cause }
    }
}

/// Health of all checked components.
#[derive(Debug, Serialize, ToSchema)]
pub struct HealthReport {
    /// Worst grade among the components.
    #[schema(value_type = schema::GradeSchema)]
    status: Grade,
    /// Health of each component.
    checks: Vec<CheckReport>,
}

/// Check the components
///
/// The components are checked at most every five seconds, for all callers together. Without a token,
/// the answer has no causes.
#[utoipa::path(
    get, path = "/healthcheck", tag = "operations", operation_id = "checkHealth",
    params(
        ("check" = Vec<String>, Query, description = "Check only this component; may be repeated."),
        ("strict" = Option<bool>, Query, description = "Answer 503 also when a component is degraded."),
    ),
    responses(
        (status = 200, description = "No component is unhealthy.", body = HealthReport),
        (status = 503, description = "A component is unhealthy; with `strict`, also: a component is degraded.", body = HealthReport),
    ),
    extensions(("x-problems" = json!(["not-found"]))),
)]
pub(crate) async fn check(
    State(app): State<Arc<App>>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let strictness = strictness(&query)?;
    let (mut wanted, mut unknown) = (Vec::new(), Vec::new());
    for name in query.values("check") {
        match app.health.component(name) {
            Ok(component) => wanted.push(component),
            Err(error) => unknown.push(error.name),
        }
    }
    let mut components = app.health.components().to_vec();
    if !unknown.is_empty() {
        let known: Vec<_> = components.into_iter().map(Component::name).collect();
        let detail = format!("Components with name {} cannot be found", unknown.join(", "));
        return Err(Problem::new(&kinds::NOT_FOUND, detail).with("known", known));
    }
    components.retain(|component| wanted.is_empty() || wanted.contains(component));
    let checks = app.health.check(&components).await;
    let worst = checks.iter().map(|check| check.grade).max().unwrap_or(Grade::Healthy);
    let audience = app.tokens.audience(&headers);
    let checks = checks.into_iter().map(|check| CheckReport::new(check, audience)).collect();
    let report = HealthReport { status: worst, checks };
    Ok((strictness.status_of(worst), Json(report)).into_response())
}

/// List the components
#[utoipa::path(
    get, path = "/healthcheck/checks", tag = "operations", operation_id = "listChecks",
    responses((status = 200, description = "The components.", body = Vec<ComponentView>)),
)]
pub(crate) async fn checks(State(app): State<Arc<App>>) -> Json<Vec<ComponentView>> {
    Json(app.health.components().into_iter().map(ComponentView::from).collect())
}

/// Check one component
///
/// The components are checked at most every five seconds, for all callers together. Without a token,
/// the answer has no cause.
#[utoipa::path(
    get, path = "/healthcheck/checks/{name}", tag = "operations", operation_id = "checkComponent",
    params(
        ("name" = String, Path, description = "Name of the component."),
        ("strict" = Option<bool>, Query, description = "Answer 503 also when the component is degraded."),
    ),
    responses(
        (status = 200, description = "The component is not unhealthy.", body = CheckReport),
        (status = 503, description = "The component is unhealthy; with `strict`, also: it is degraded.", body = CheckReport),
    ),
    extensions(("x-problems" = json!(["not-found"]))),
)]
pub(crate) async fn check_one(
    State(app): State<Arc<App>>,
    Segment(name): Segment<String>,
    headers: HeaderMap,
    query: Query,
) -> Result<Response, Problem> {
    let strictness = strictness(&query)?;
    let component = app.health.component(&name).map_err(|error| {
        let detail = format!("Component with name {name} cannot be found");
        Problem::new(&kinds::NOT_FOUND, detail).with("known", error.known)
    })?;
    let audience = app.tokens.audience(&headers);
    let checks = app.health.check(&[component]).await;
    let worst = checks.iter().map(|check| check.grade).max().unwrap_or(Grade::Healthy);
    let report = checks.into_iter().map(|check| CheckReport::new(check, audience)).next();
    Ok((strictness.status_of(worst), Json(report)).into_response())
}

/// What a monitoring system counts as a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Strictness {
    /// Only an unhealthy component is a failure.
    Lenient,
    /// A degraded component is a failure, too.
    Strict,
}

fn strictness(query: &Query) -> Result<Strictness, Problem> {
    Ok(if query.flag("strict")? { Strictness::Strict } else { Strictness::Lenient })
}

impl Strictness {
    fn status_of(self, grade: Grade) -> StatusCode {
        match (grade, self) {
            (Grade::Healthy, _) | (Grade::Degraded, Self::Lenient) => StatusCode::OK,
            (Grade::Degraded, Self::Strict) | (Grade::Unhealthy, _) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }
}
