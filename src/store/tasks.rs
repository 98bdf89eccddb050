//! Tasks: longer pieces of work that a caller asked for.

use super::{
    Store,
    engine::{Arg, args, json, statements},
    error::StoreError,
    row::{Row, word},
};
use crate::{
    clock,
    domain::report::{Task, TaskState},
};
use serde_json::{Value, json as object};
use std::collections::HashMap;
use time::OffsetDateTime;
use uuid::Uuid;

statements! {
    INSERT = "INSERT INTO task (id, kind, state, actor, submitted_from, node, information) VALUES ($1, $2, 'waiting', $3, $4, $5, $6)";
    START = "UPDATE task SET state = 'inProgress', started_at = (SELECT now FROM clock) WHERE id = $1 AND state = 'waiting'";
    PROGRESS = "UPDATE task SET information = $2 WHERE id = $1 AND ended_at IS NULL";
    FINISH = "UPDATE task SET state = $2, information = $3, ended_at = (SELECT now FROM clock) WHERE id = $1 AND ended_at IS NULL";
    CANCEL = "UPDATE task SET state = 'canceledRequested', cancelled_from = $2 WHERE id = $1 AND state IN ('waiting', 'inProgress')";
    UNFINISHED = "SELECT id, state FROM task WHERE ended_at IS NULL";
    BY_ID = "SELECT seq, id, kind, state, actor, submitted_from, node, cancelled_from, submitted_at, started_at, ended_at, information \
             FROM task WHERE id = $1";
    FILTERED = "SELECT seq, id, kind, state, actor, submitted_from, node, cancelled_from, submitted_at, started_at, ended_at, information \
                FROM task WHERE (CAST($1 AS TEXT) IS NULL OR state = $1) AND (CAST($2 AS TEXT) IS NULL OR kind = $2) \
        AND (CAST($3 AS BIGINT) IS NULL OR submitted_at < $3) AND (CAST($4 AS BIGINT) IS NULL OR submitted_at > $4) \
        AND (CAST($5 AS BIGINT) IS NULL OR started_at < $5) AND (CAST($6 AS BIGINT) IS NULL OR started_at > $6) \
        AND (CAST($7 AS BIGINT) IS NULL OR (state = 'completed' AND ended_at < $7)) AND (CAST($8 AS BIGINT) IS NULL OR (state = 'completed' AND ended_at > $8)) \
        AND (CAST($9 AS BIGINT) IS NULL OR (state = 'failed' AND ended_at < $9)) AND (CAST($10 AS BIGINT) IS NULL OR (state = 'failed' AND ended_at > $10)) \
        ORDER BY seq DESC LIMIT $11 OFFSET $12";
    /// Unfinished tasks whose node is gone, or was started again after it took them.
    ORPHANED = "SELECT seq, id, kind, state, actor, submitted_from, node, cancelled_from, submitted_at, started_at, ended_at, information \
                FROM task WHERE ended_at IS NULL AND NOT EXISTS (SELECT 1 FROM node n CROSS JOIN clock \
        WHERE n.id = task.node AND n.state <> 'gone' AND n.last_seen >= now - 20000000 AND n.started_at <= task.submitted_at)";
}

/// Filter for tasks. An absent field does not limit the tasks. A limit on the time of a state
/// leaves out tasks that have not reached the state.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TaskFilter {
    /// State of the tasks.
    pub state: Option<TaskState>,
    /// Type of the tasks.
    pub kind: Option<String>,
    /// Submitted before.
    pub submitted_before: Option<OffsetDateTime>,
    /// Submitted after.
    pub submitted_after: Option<OffsetDateTime>,
    /// Started before.
    pub started_before: Option<OffsetDateTime>,
    /// Started after.
    pub started_after: Option<OffsetDateTime>,
    /// Completed before.
    pub completed_before: Option<OffsetDateTime>,
    /// Completed after.
    pub completed_after: Option<OffsetDateTime>,
    /// Failed before.
    pub failed_before: Option<OffsetDateTime>,
    /// Failed after.
    pub failed_after: Option<OffsetDateTime>,
    /// Number of tasks to leave out at the beginning.
    pub offset: u64,
    /// Largest number of tasks to list; absent for all.
    pub limit: Option<u64>,
}

impl Store {
    /// Records a waiting task. Its state and times are ignored: it is submitted now, by the
    /// database's clock. The node that runs the task must have written a heartbeat before.
    ///
    /// # Errors
    /// When the database cannot be used, or a task with this id exists.
    pub async fn insert_task(&self, task: &Task) -> Result<(), StoreError> {
        let values = args![
            task.id,
            task.kind.as_str(),
            task.actor.as_str(),
            task.submitted_from.as_str(),
            task.node.as_str(),
            json(&task.information),
        ];
        self.inner.engine.write(INSERT, values).await?;
        Ok(())
    }

    /// Begins a task. `false` when the task no longer waits, because a caller cancelled it.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn start_task(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.inner.engine.write(START, args![id]).await? == 1)
    }

    /// Records the progress of an unfinished task. `false` when the task has ended.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn task_progress(&self, id: Uuid, information: &Value) -> Result<bool, StoreError> {
        Ok(self.inner.engine.write(PROGRESS, args![id, json(information)]).await? == 1)
    }

    /// Ends a task. `false` when the task has ended before or is not known; its record does not
    /// change then.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn finish_task(
        &self,
        id: Uuid,
        state: TaskState,
        information: &Value,
    ) -> Result<bool, StoreError> {
        let values = args![id, word(&state), json(information)];
        Ok(self.inner.engine.write(FINISH, values).await? == 1)
    }

    /// Asks a task to end. `false` when the task is not known, has ended, or was asked before.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn request_cancel(&self, id: Uuid, host: &str) -> Result<bool, StoreError> {
        Ok(self.inner.engine.write(CANCEL, args![id, host]).await? == 1)
    }

    /// A task.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn task(&self, id: Uuid) -> Result<Option<Task>, StoreError> {
        self.inner.engine.read(BY_ID, args![id]).await?.first().map(read).transpose()
    }

    /// The states of the tasks that have not ended.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unfinished_tasks(&self) -> Result<HashMap<Uuid, TaskState>, StoreError> {
        let rows = self.inner.engine.read(UNFINISHED, &[]).await?;
        rows.iter().map(|row| Ok((row.uuid("id")?, row.word("state")?))).collect()
    }

    /// The tasks that a filter lets through, newest submitted first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn tasks(&self, filter: &TaskFilter) -> Result<Vec<Task>, StoreError> {
        let micros = |at: Option<OffsetDateTime>| Arg::OptInt(at.map(clock::to_micros));
        let values = [
            Arg::OptText(filter.state.as_ref().map(word)),
            Arg::OptText(filter.kind.clone()),
            micros(filter.submitted_before),
            micros(filter.submitted_after),
            micros(filter.started_before),
            micros(filter.started_after),
            micros(filter.completed_before),
            micros(filter.completed_after),
            micros(filter.failed_before),
            micros(filter.failed_after),
            Arg::from(filter.limit.unwrap_or(u64::MAX)),
            Arg::from(filter.offset),
        ];
        self.inner.engine.read(FILTERED, &values).await?.iter().map(read).collect()
    }

    /// Ends the unfinished tasks of nodes that are gone or were started again. Returns their ids.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn fail_tasks_of_gone_nodes(&self) -> Result<Vec<Uuid>, StoreError> {
        let mut failed = Vec::new();
        for row in self.inner.engine.read(ORPHANED, &[]).await? {
            let task = read(&row)?;
            let cause = format!("node {} went away before the task had ended", task.node);
            let mut information = task.information;
            match &mut information {
                Value::Object(members) => {
                    members.insert("cause".to_owned(), Value::String(cause));
                }
                other => *other = object!({ "cause": cause }),
            }
            if self.finish_task(task.id, TaskState::Failed, &information).await? {
                failed.push(task.id);
            }
        }
        Ok(failed)
    }
}

fn read(row: &Row) -> Result<Task, StoreError> {
    Ok(Task {
        id: row.uuid("id")?,
        kind: row.text("kind")?,
        state: row.word("state")?,
        actor: row.text("actor")?,
        submitted_from: row.text("submitted_from")?,
        node: row.text("node")?,
        cancelled_from: row.opt_text("cancelled_from")?,
        submitted_at: row.time("submitted_at")?,
        started_at: row.opt_time("started_at")?,
        ended_at: row.opt_time("ended_at")?,
        information: row.json("information")?,
    })
}
