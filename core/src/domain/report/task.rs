//! State of a task.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use uuid::Uuid;

/// State of a task (James WebAdmin, `/tasks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskState {
    /// The task has not begun.
    Waiting,
    /// The task runs.
    InProgress,
    /// A caller asked to cancel the task, and it has not ended yet.
    CanceledRequested,
    /// The task ended successfully.
    Completed,
    /// The task ended because a caller asked to cancel it.
    Canceled,
    /// The task ended with an error.
    Failed,
}

/// A longer piece of work that a caller asked for. Times are by the database's clock.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Identity of the task.
    pub id: Uuid,
    /// Name of the task's type.
    pub kind: String,
    /// State of the task.
    pub state: TaskState,
    /// Actor who asked for the task.
    pub actor: String,
    /// Host that took the request.
    pub submitted_from: String,
    /// Node that runs the task.
    pub node: String,
    /// Host that took the request to cancel the task.
    pub cancelled_from: Option<String>,
    /// Time of the request.
    pub submitted_at: OffsetDateTime,
    /// Time at which the task began.
    pub started_at: Option<OffsetDateTime>,
    /// Time at which the task ended, in any state.
    pub ended_at: Option<OffsetDateTime>,
    /// The task's own description of its progress.
    pub information: Value,
}
