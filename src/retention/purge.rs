//! Purges that an administrator asks for, as tasks.

use crate::{
    error_chain::error_chain,
    store::{
        Store, StoreError,
        dead_letters::{DeadLetterFilter, PurgeStep, PurgeWindow},
    },
    tasks::Progress,
};
use backon::{ExponentialBuilder, Retryable};
use serde_json::{Value, json};
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Deletion of the dead letters that a filter lets through. Their events are lost.
#[derive(Debug, Clone)]
pub struct DeadLetterPurge {
    /// The entries.
    pub filter: DeadLetterFilter,
}

/// Removal of the records of ended tasks (James WebAdmin, `tasks-cleanup`).
#[derive(Debug, Clone)]
pub struct TaskCleanup {
    /// Tasks that were submitted before this time are removed.
    pub before: OffsetDateTime,
}

impl DeadLetterPurge {
    /// Type of the task.
    pub const KIND: &'static str = "event-dead-letters-purge";

    /// Deletes the entries that exist when the purge begins, and returns the task's report.
    ///
    /// # Errors
    /// The report with a member `error`, when the database stayed away. Entries are left.
    pub async fn run(self, store: Store, progress: Progress) -> Result<Value, Value> {
        let mut report = json!({ "removedCount": 0, "runningOptions": self.options() });
        let last = store.last_dead_letter().await.map_err(|error| failed(&report, &error))?;
        let mut rest = Some(PurgeWindow { after: 0, last });
        let mut removed = 0;
        while let Some(window) = rest {
            let step = patiently(|| store.purge_dead_letters(&self.filter, window)).await;
            let step = step.map_err(|error| failed(&report, &error))?;
            removed += step.removed;
            rest = step.rest;
            report["removedCount"] = removed.into();
            progress.report(report.clone()).await;
        }
        Ok(report)
    }

    fn options(&self) -> Value {
        let DeadLetterFilter { bus, group, before, .. } = &self.filter;
        json!({
            "bus": bus.as_ref().map(ToString::to_string),
            "group": group.as_ref().map(ToString::to_string),
            "before": before.and_then(|at| at.format(&Rfc3339).ok()),
        })
    }
}

impl TaskCleanup {
    /// Type of the task.
    pub const KIND: &'static str = "tasks-cleanup";

    /// Removes the records, and returns the task's report.
    ///
    /// # Errors
    /// The report with a member `error`, when the database stayed away. Records are left.
    pub async fn run(self, store: Store, progress: Progress) -> Result<Value, Value> {
        let before = self.before.format(&Rfc3339).ok();
        let mut report = json!({ "removedTaskCount": 0, "before": before });
        let last = store.last_task().await.map_err(|error| failed(&report, &error))?;
        let mut rest = Some(PurgeWindow { after: 0, last });
        let mut removed = 0;
        while let Some(window) = rest {
            let step = patiently(|| store.purge_tasks(self.before, window)).await;
            let step = step.map_err(|error| failed(&report, &error))?;
            removed += step.removed;
            rest = step.rest;
            report["removedTaskCount"] = removed.into();
            progress.report(report.clone()).await;
        }
        Ok(report)
    }
}

/// Tries a step again for some minutes while the database is out of reach. A step may be repeated.
async fn patiently<F>(step: impl FnMut() -> F) -> Result<PurgeStep, StoreError>
where
    F: Future<Output = Result<PurgeStep, StoreError>>,
{
    let pauses = ExponentialBuilder::default()
        .with_max_delay(Duration::from_secs(10))
        .with_max_times(30)
        .with_jitter();
    step.retry(pauses).when(StoreError::is_unavailable).await
}

fn failed(report: &Value, error: &StoreError) -> Value {
    let mut report = report.clone();
    report["error"] = format!("the purge ended early: {}", error_chain(error)).into();
    report
}
