//! `/tasks`: work that outlives its request, as in James's WebAdmin.

pub mod report;

pub use report::TaskReport;

use super::{
    App,
    auth::Actor,
    older_than::older_than,
    parameters::{Query, Segment, SegmentError, invalid_parameter},
    precondition::CommandRequest,
    problem::{Problem, kinds},
    schema::PageLimitParams,
};
use crate::{
    domain::span::Span,
    retention::TaskCleanup,
    store::tasks::TaskFilter,
    tasks::{Awaited, Progress},
};
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use report::{read_state, read_time};
use serde::Serialize;
use serde_json::{Value, json};
use std::{str::FromStr, sync::Arc, time::Duration};
use utoipa::ToSchema;
use uuid::Uuid;

/// Longest wait for the end of a task: 365 days, as in James.
const LONGEST_AWAIT: Duration = Duration::from_hours(365 * 24);

/// Started task.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Submitted {
    /// Id of the task, for `/tasks/{id}`.
    task_id: Uuid,
}

/// Starts a task and answers its address. The problem that the work ends with becomes the report of
/// the failed task.
///
/// # Errors
/// When the store did not take the task; then nothing was started.
pub async fn start_task(
    app: &App,
    kind: &'static str,
    actor: &Actor,
    work: impl Future<Output = Result<Value, Problem>> + Send + 'static,
) -> Result<Response, Problem> {
    let work = async move {
        work.await.map_err(|problem| {
            let error = problem.cause().unwrap_or(problem.detail()).to_owned();
            json!({ "problem": problem.kind().uri(), "error": error })
        })
    };
    start_reporting_task(app, kind, actor, |_| work).await
}

/// Starts a task that reports its progress, and answers its address.
///
/// # Errors
/// When the store did not take the task; then nothing was started.
pub async fn start_reporting_task<W>(
    app: &App,
    kind: &'static str,
    actor: &Actor,
    begin: impl FnOnce(Progress) -> W + Send + 'static,
) -> Result<Response, Problem>
where
    W: Future<Output = Result<Value, Value>> + Send + 'static,
{
    Ok(Submitted::answer(app.tasks.submit(kind, &actor.0, begin).await?))
}

impl Submitted {
    /// Answer with the address of a task.
    pub(super) fn answer(task_id: Uuid) -> Response {
        let location = [(header::LOCATION, format!("/tasks/{task_id}"))];
        (StatusCode::CREATED, location, Json(Self { task_id })).into_response()
    }
}

/// Action of a call that starts a task. The refusals have James's wording.
///
/// # Errors
/// When `action` is missing, blank or not supported.
pub fn action<'a>(query: &'a Query, supported: &[&str]) -> Result<&'a str, Problem> {
    let values = format!("Supported values are [{}]", supported.join(", "));
    let refused = |what: String| Err(invalid_parameter("action", format!("{what}. {values}")));
    match query.text("action") {
        None => refused("'action' query parameter is compulsory".into()),
        Some(blank) if blank.trim().is_empty() => {
            refused("'action' query parameter cannot be empty or blank".into())
        }
        Some(action) if supported.contains(&action) => Ok(action),
        Some(other) => {
            let shown: String = other.chars().take(80).collect();
            refused(format!("Invalid value supplied for query parameter 'action': {shown}"))
        }
    }
}

/// Id of a task in the path.
pub struct TaskId(Uuid);

impl FromStr for TaskId {
    type Err = SegmentError;

    fn from_str(text: &str) -> Result<Self, SegmentError> {
        let refused = |_| SegmentError::new("id", "Invalid task id: a task id is a UUID");
        Uuid::parse_str(text).map(Self).map_err(refused)
    }
}

fn not_found(id: Uuid) -> Problem {
    Problem::new(&kinds::NOT_FOUND, format!("{id} can not be found"))
}

/// List the tasks, newest first
#[utoipa::path(
    get, path = "/tasks", tag = "tasks", operation_id = "listTasks",
    params(
        ("status" = Option<String>, Query, description = "Only tasks in this status."),
        ("type" = Option<String>, Query, description = "Only tasks of this type."),
        ("submittedBefore" = Option<String>, Query, description = "Only tasks submitted before this time (ISO 8601 with zone)."),
        ("submittedAfter" = Option<String>, Query, description = "Only tasks submitted after this time."),
        ("startedBefore" = Option<String>, Query, description = "Only tasks started before this time."),
        ("startedAfter" = Option<String>, Query, description = "Only tasks started after this time."),
        ("completedBefore" = Option<String>, Query, description = "Only tasks completed before this time."),
        ("completedAfter" = Option<String>, Query, description = "Only tasks completed after this time."),
        ("failedBefore" = Option<String>, Query, description = "Only tasks failed before this time."),
        ("failedAfter" = Option<String>, Query, description = "Only tasks failed after this time."),
        ("offset" = Option<u32>, Query, description = "Number of tasks to skip."),
        PageLimitParams,
    ),
    responses((status = 200, description = "The tasks.", body = Vec<TaskReport>)),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn list(
    State(app): State<Arc<App>>,
    query: Query,
) -> Result<Json<Vec<TaskReport>>, Problem> {
    let time = |name| query.text(name).map(|text| read_time(name, text)).transpose();
    let filter = TaskFilter {
        state: query.text("status").map(read_state).transpose()?,
        kind: query.text("type").map(str::to_owned),
        submitted_before: time("submittedBefore")?,
        submitted_after: time("submittedAfter")?,
        started_before: time("startedBefore")?,
        started_after: time("startedAfter")?,
        completed_before: time("completedBefore")?,
        completed_after: time("completedAfter")?,
        failed_before: time("failedBefore")?,
        failed_after: time("failedAfter")?,
        offset: query.read("offset", "a whole number")?.unwrap_or(0),
        limit: Some(query.page()?.limit as u64),
    };
    let tasks = app.store.tasks(&filter).await?;
    Ok(Json(tasks.into_iter().map(TaskReport::from).collect()))
}

/// Remove the records of old tasks
///
/// A task removes the records of tasks that have ended and were submitted longer ago than
/// `olderThan`. hearken does the same by itself, with the limits of `--retain-tasks`.
#[utoipa::path(
    delete, path = "/tasks", tag = "tasks", operation_id = "cleanUpTasks",
    params(("olderThan" = String, Query, description = "Time since the task was submitted.", example = "30day")),
    responses((status = 201, description = "A task removes the records.", body = Submitted,
        headers(("Location" = String, description = "Address of the task.")))),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn clean_up(
    State(app): State<Arc<App>>,
    request: CommandRequest,
) -> Result<Response, Problem> {
    let Some(before) = older_than(&request.query, &app.clock)? else {
        let detail = "'olderThan' query parameter is compulsory: a time span, such as 30day";
        return Err(invalid_parameter("olderThan", detail.into()));
    };
    let (cleanup, store) = (TaskCleanup { before }, app.store.clone());
    let begin = |progress| cleanup.run(store, progress);
    start_reporting_task(&app, TaskCleanup::KIND, &request.actor, begin).await
}

/// Show a task
#[utoipa::path(
    get, path = "/tasks/{id}", tag = "tasks", operation_id = "getTask",
    params(("id" = Uuid, Path, description = "Id of the task.")),
    responses((status = 200, description = "The task.", body = TaskReport)),
    extensions(("x-problems" = json!(["not-found", "store-unavailable"]))),
)]
pub(crate) async fn show(
    State(app): State<Arc<App>>,
    Segment(TaskId(id)): Segment<TaskId>,
) -> Result<Json<TaskReport>, Problem> {
    let task = app.store.task(id).await?.ok_or_else(|| not_found(id))?;
    Ok(Json(task.into()))
}

/// Wait for the end of a task
#[utoipa::path(
    get, path = "/tasks/{id}/await", tag = "tasks", operation_id = "awaitTask",
    params(
        ("id" = Uuid, Path, description = "Id of the task."),
        ("timeout" = Option<String>, Query, description = "Longest time to wait, up to 365d; 365d if absent.", example = "30s"),
    ),
    responses((status = 200, description = "The task has ended.", body = TaskReport)),
    extensions(("x-problems" = json!(["not-found", "timeout", "store-unavailable"]))),
)]
pub(crate) async fn wait(
    State(app): State<Arc<App>>,
    Segment(TaskId(id)): Segment<TaskId>,
    query: Query,
) -> Result<Json<TaskReport>, Problem> {
    let right = "a time span up to 365d, such as 30s";
    let limit = query.read::<Span>("timeout", right)?.map_or(LONGEST_AWAIT, Span::duration);
    if limit.is_zero() || limit > LONGEST_AWAIT {
        return Err(invalid_parameter("timeout", format!("Invalid timeout: it must be {right}")));
    }
    let ended = tokio::select! {
        ended = app.tasks.await_end(id, limit) => ended?,
        () = app.stop.cancelled() => Awaited::TimedOut,
    };
    match ended {
        Awaited::Ended(task) => Ok(Json((*task).into())),
        Awaited::TimedOut => Err(Problem::new(&kinds::TIMEOUT, "The timeout has been reached")),
        Awaited::Unknown => Err(not_found(id)),
    }
}

/// Cancel a task
///
/// Asks the node that runs the task to stop it. A task that has ended stays as it is. A task that
/// does not exist is not an error.
#[utoipa::path(
    delete, path = "/tasks/{id}", tag = "tasks", operation_id = "cancelTask",
    params(("id" = Uuid, Path, description = "Id of the task.")),
    responses((status = 204, description = "The request is recorded.")),
    extensions(("x-problems" = json!(["store-unavailable"]))),
)]
pub(crate) async fn cancel(
    State(app): State<Arc<App>>,
    Segment(TaskId(id)): Segment<TaskId>,
) -> Result<StatusCode, Problem> {
    app.tasks.cancel(id).await?;
    Ok(StatusCode::NO_CONTENT)
}
