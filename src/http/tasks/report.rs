//! A task as James's WebAdmin shows it.

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

/// James's `yyyy-MM-dd'T'HH:mm:ss.SSSZ`.
const JAMES: &[BorrowedFormatItem<'_>] = format_description!(
    "[year]-[month]-[day]T[hour]:[minute]:[second].[subsecond digits:3][offset_hour sign:mandatory][offset_minute]"
);

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum TaskStatus {
    /// Not begun.
    Waiting,
    /// Begun.
    InProgress,
    /// Somebody asked to cancel it, and it has not ended.
    CanceledRequested,
    /// Ended well.
    Completed,
    /// Ended because somebody asked.
    Canceled,
    /// Ended badly.
    Failed,
}

/// A longer piece of work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Task)]
pub struct TaskReport {
    /// Its id.
    task_id: Uuid,
    /// Its type.
    #[schema(example = "topology-reconcile")]
    r#type: String,
    /// How far it is.
    status: TaskStatus,
    /// Who asked for it.
    submitted_by: String,
    /// The host that took the request.
    submitted_from: String,
    /// The node that runs it.
    executed_on: String,
    /// The host that asked to cancel it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cancelled_from: Option<String>,
    /// When it was asked for.
    #[schema(example = "2026-11-21T05:00:00.000+0000")]
    submit_date: String,
    /// When it began.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    started_date: Option<String>,
    /// When it ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    completed_date: Option<String>,
    /// When it was canceled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    canceled_date: Option<String>,
    /// When it ended badly.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failed_date: Option<String>,
    /// What it says of its work; its `type` is the task's.
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

/// Reads a status that tasks are filtered by.
pub(super) fn read_state(text: &str) -> Result<TaskState, Problem> {
    serde_json::from_value(Value::String(text.to_owned())).map_err(|_| {
        let detail = "Invalid status query parameter: it must be waiting, inProgress, canceledRequested, completed, canceled or failed";
        invalid_parameter("status", detail.into())
    })
}

/// Reads a time that something is filtered by, in ISO 8601 or as the reports have it.
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
