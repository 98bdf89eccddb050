//! Tasks as James's WebAdmin shows them.

use crate::{
    domain::report::{Task, TaskState},
    http::{parameters::invalid_parameter, problem::Problem},
};
use serde::Serialize;
use serde_json::Value;
use time::{
    OffsetDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};
use utoipa::ToSchema;
use uuid::Uuid;

/// Format of times in James: `yyyy-MM-dd'T'HH:mm:ss.SSSZ`.
const JAMES: &[BorrowedFormatItem<'_>] = format_description!(
    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3][offset_hour sign:mandatory][offset_minute]"
);

/// Status of a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TaskStatus {
    /// The task has not begun.
    Waiting,
    /// The task runs.
    InProgress,
    /// Cancellation was requested, and the task has not ended.
    CanceledRequested,
    /// The task succeeded.
    Completed,
    /// The task was cancelled.
    Canceled,
    /// The task failed, or its node is gone.
    Failed,
}

/// Work that outlives the request that started it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Task)]
pub struct TaskReport {
    /// Id of the task.
    task_id: Uuid,
    /// Type of the task.
    #[schema(example = "topology-reconcile")]
    r#type: String,
    /// Status of the task.
    status: TaskStatus,
    /// Caller that started the task.
    submitted_by: String,
    /// Host that took the request.
    submitted_from: String,
    /// Node that runs the task.
    executed_on: String,
    /// Host that took the request to cancel the task.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cancelled_from: Option<String>,
    /// When the task was requested.
    #[schema(example = "2026-11-21T05:00:00.000+0000")]
    submit_date: String,
    /// When the task began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    started_date: Option<String>,
    /// When the task succeeded.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    completed_date: Option<String>,
    /// When the task was cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    canceled_date: Option<String>,
    /// When the task failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failed_date: Option<String>,
    /// Report of the task about its work. Its member `type` is the type of the task.
    #[schema(value_type = Object)]
    additional_information: Value,
}

impl From<Task> for TaskReport {
    fn from(task: Task) -> Self {
        let ended = |state| (task.state == state).then_some(task.ended_at).flatten().map(written);
        Self {
            task_id: task.id,
            status: match task.state {
                TaskState::Waiting => TaskStatus::Waiting,
                TaskState::InProgress => TaskStatus::InProgress,
                TaskState::CanceledRequested => TaskStatus::CanceledRequested,
                TaskState::Completed => TaskStatus::Completed,
                TaskState::Canceled => TaskStatus::Canceled,
                TaskState::Failed => TaskStatus::Failed,
            },
            submit_date: written(task.submitted_at),
            started_date: task.started_at.map(written),
            completed_date: ended(TaskState::Completed),
            canceled_date: ended(TaskState::Canceled),
            failed_date: ended(TaskState::Failed),
            r#type: task.kind,
            submitted_by: task.actor,
            submitted_from: task.submitted_from,
            executed_on: task.node,
            cancelled_from: task.cancelled_from,
            additional_information: task.information,
        }
    }
}

fn written(time: OffsetDateTime) -> String {
    time.format(JAMES).expect("every time of this era can be written")
}

/// Reads the status in a filter.
pub(super) fn read_state(text: &str) -> Result<TaskState, Problem> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|_| {
        let detail = "Invalid status query parameter: it must be waiting, inProgress, canceledRequested, completed, canceled or failed";
        invalid_parameter("status", detail.into())
    })
}

/// Reads the time in a filter, in ISO 8601 or in James's format.
pub(in crate::http) fn read_time(name: &str, text: &str) -> Result<OffsetDateTime, Problem> {
    let read =
        OffsetDateTime::parse(text, &Rfc3339).or_else(|_| OffsetDateTime::parse(text, JAMES));
    read.map_err(|_| {
        let detail = format!("Invalid {name} query parameter: it must be a time with its zone, such as 2026-11-21T05:00:00Z");
        invalid_parameter(name, detail)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn dates_are_written_as_james_writes_them_and_read_back() {
        let time = datetime!(2026-11-21 5:07:09.012_345 UTC);
        assert_eq!(written(time), "2026-11-21T05:07:09.012+0000");
        assert_eq!(
            read_time("x", "2026-11-21T05:07:09.012+0000").unwrap(),
            datetime!(2026-11-21 5:07:09.012 UTC)
        );
        assert_eq!(
            read_time("x", "2026-11-21T06:07:09+01:00").unwrap(),
            datetime!(2026-11-21 5:07:09 UTC)
        );
        for wrong in ["", "yesterday", "2026-11-21", "2026-11-21T05:07:09"] {
            assert_eq!(read_time("startedAfter", wrong).unwrap_err().kind().status, 400, "{wrong}");
        }
    }

    #[test]
    fn every_status_reads_as_it_is_written() {
        for status in
            ["waiting", "inProgress", "canceledRequested", "completed", "canceled", "failed"]
        {
            let state = read_state(status).unwrap();
            assert_eq!(serde_json::to_value(state).unwrap(), status);
        }
        assert!(read_state("done").is_err());
    }
}
