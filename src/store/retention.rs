//! Removal of old records, in batches that each take a short statement.

use super::{
    Store,
    dead_letters::{PurgeStep, PurgeWindow},
    engine::{Sql, args, statements},
    error::StoreError,
};
use crate::{clock::to_micros, domain::span::Span};
use std::time::Duration;
use time::OffsetDateTime;

/// Largest number of records that one statement removes.
pub const BATCH: usize = 1_000;

statements! {
    TAKE_TURN = "UPDATE identity SET swept_at = (SELECT now FROM clock) WHERE swept_at <= (SELECT now FROM clock) - $1";
    /// Events that could not be published stay: hearken publishes them by itself.
    OLD_DEAD_LETTERS = "DELETE FROM dead_letter WHERE seq IN (SELECT seq FROM dead_letter WHERE group_name <> 'dispatch-failure' \
        AND last_failed_at < (SELECT now FROM clock) - $1 ORDER BY last_failed_at LIMIT $2)";
    OLD_TASKS = "DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE ended_at IS NOT NULL \
        AND ended_at < (SELECT now FROM clock) - $1 ORDER BY ended_at LIMIT $2)";
    SURPLUS_TASKS = "DELETE FROM task WHERE seq IN (SELECT seq FROM task WHERE ended_at IS NOT NULL \
        AND seq <= (SELECT seq FROM task ORDER BY seq DESC LIMIT 1 OFFSET $1) ORDER BY seq LIMIT $2)";
    OLD_COMMANDS = "DELETE FROM roster_command WHERE command_id IN (SELECT command_id FROM roster_command \
        WHERE recorded_at < (SELECT now FROM clock) - $1 ORDER BY recorded_at LIMIT $2)";
    SURPLUS_COMMANDS = "DELETE FROM roster_command WHERE command_id IN (SELECT command_id FROM roster_command \
        WHERE recorded_at <= (SELECT recorded_at FROM roster_command ORDER BY recorded_at DESC LIMIT 1 OFFSET $1) ORDER BY recorded_at LIMIT $2)";
    OLD_PASSES = "DELETE FROM pass WHERE id IN (SELECT id FROM pass WHERE recorded_at < (SELECT now FROM clock) - $1 ORDER BY recorded_at LIMIT $2)";
    SURPLUS_PASSES = "DELETE FROM pass WHERE id IN (SELECT id FROM pass \
        WHERE id <= (SELECT id FROM pass ORDER BY id DESC LIMIT 1 OFFSET $1) ORDER BY id LIMIT $2)";
    OLD_NODES = "DELETE FROM node WHERE last_seen < (SELECT now FROM clock) - $1";
    COUNTS = "SELECT (SELECT COALESCE(MAX(version), 0) FROM roster_event) AS head, (SELECT COUNT(*) FROM task) AS tasks, \
        (SELECT COUNT(*) FROM roster_command) AS commands, (SELECT COUNT(*) FROM pass) AS passes";
    LAST_TASK = "SELECT COALESCE(MAX(seq), 0) AS seq FROM task";
    TASK_STEP = "SELECT MAX(seq) AS last FROM (SELECT seq FROM task WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3) AS step";
    PURGE_TASKS = "DELETE FROM task WHERE seq > $1 AND seq <= $2 AND ended_at IS NOT NULL AND submitted_at < $3";
}

/// Records that have an age beyond which they are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AgedRecord {
    /// Dead letters, by their last failure, except events that could not be published.
    DeadLetter,
    /// Ended tasks, by their end.
    Task,
    /// Ids of commands.
    Command,
    /// Passes.
    Pass,
    /// Nodes, by their last heartbeat.
    Node,
}

/// Records that have a number beyond which the oldest are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberedRecord {
    /// Ended tasks.
    Task,
    /// Ids of commands.
    Command,
    /// Passes.
    Pass,
}

/// Newest version of the log, and the numbers of stored records that are swept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordCounts {
    /// Newest version of the roster's log.
    pub head: u64,
    /// Tasks.
    pub tasks: u64,
    /// Ids of commands.
    pub commands: u64,
    /// Passes.
    pub passes: u64,
}

impl Store {
    /// Counts the records that are swept. Their limits bound the cost.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn record_counts(&self) -> Result<RecordCounts, StoreError> {
        let rows = self.inner.engine.read(COUNTS, &[]).await?;
        let uncounted = || StoreError::Corrupt { what: "the records were not counted".into() };
        let row = rows.first().ok_or_else(uncounted)?;
        Ok(RecordCounts {
            head: row.count("head")?,
            tasks: row.count("tasks")?,
            commands: row.count("commands")?,
            passes: row.count("passes")?,
        })
    }

    /// Takes the cluster's next turn to remove old records. `false` when a turn was taken less than
    /// `every` ago.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn take_sweep_turn(&self, every: Duration) -> Result<bool, StoreError> {
        let micros = u64::try_from(every.as_micros()).unwrap_or(u64::MAX);
        Ok(self.inner.engine.write(TAKE_TURN, args![micros]).await? == 1)
    }

    /// Removes one batch of records that are older than `age`. Returns their number; a number below
    /// [`BATCH`] means that no older record is left.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn remove_old(&self, record: AgedRecord, age: Span) -> Result<u64, StoreError> {
        let micros = age.as_millis().saturating_mul(1_000);
        let sql = match record {
            AgedRecord::DeadLetter => OLD_DEAD_LETTERS,
            AgedRecord::Task => OLD_TASKS,
            AgedRecord::Command => OLD_COMMANDS,
            AgedRecord::Pass => OLD_PASSES,
            // There are few nodes, so one statement removes all.
            AgedRecord::Node => {
                return Ok(self.inner.engine.write(OLD_NODES, args![micros]).await?);
            }
        };
        self.remove_batch(sql, micros).await
    }

    /// Removes one batch of the oldest records beyond the newest `count`. Returns their number; a
    /// number below [`BATCH`] means that no surplus record is left.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn remove_surplus(
        &self,
        record: NumberedRecord,
        count: u64,
    ) -> Result<u64, StoreError> {
        let sql = match record {
            NumberedRecord::Task => SURPLUS_TASKS,
            NumberedRecord::Command => SURPLUS_COMMANDS,
            NumberedRecord::Pass => SURPLUS_PASSES,
        };
        self.remove_batch(sql, count).await
    }

    async fn remove_batch(&self, sql: Sql, limit: u64) -> Result<u64, StoreError> {
        Ok(self.inner.engine.write(sql, args![limit, BATCH]).await?)
    }

    /// Place of the newest task; 0 when there is no task.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_task(&self) -> Result<i64, StoreError> {
        let rows = self.inner.engine.read(LAST_TASK, &[]).await?;
        rows.first().map_or(Ok(0), |row| row.int("seq"))
    }

    /// Removes the ended tasks that were submitted before a time, among the next 1,000 tasks of a
    /// window.
    ///
    /// # Errors
    /// When the database cannot be used. It is not known whether the tasks are removed.
    pub async fn purge_tasks(
        &self,
        before: OffsetDateTime,
        window: PurgeWindow,
    ) -> Result<PurgeStep, StoreError> {
        let PurgeWindow { after, last } = window;
        let rows = self.inner.engine.read(TASK_STEP, args![after, last, BATCH]).await?;
        let end = rows.first().map(|row| row.opt_int("last")).transpose()?.flatten();
        let Some(end) = end else { return Ok(PurgeStep { removed: 0, rest: None }) };
        let values = args![after, end, to_micros(before)];
        let removed = self.inner.engine.write(PURGE_TASKS, values).await?;
        Ok(PurgeStep { removed, rest: Some(PurgeWindow { after: end, last }) })
    }
}
