//! Removal of old records, by itself and on request.
//!
//! One node of the cluster sweeps at a time, and a sweep takes its turn for the whole cluster. Each
//! statement removes at most 1,000 records, so a sweep or a purge gets ahead at any number of
//! records, and locks none of them for long. The log of the roster is never swept.

mod purge;

pub use purge::{DeadLetterPurge, TaskCleanup};

use crate::{
    clock::Clock,
    domain::{retention::Retention, span::Span},
    error_chain::error_chain,
    metrics::Metrics,
    outage::Outage,
    store::{
        Lease, LeaseName, Store, StoreError,
        retention::{AgedRecord, BATCH, NumberedRecord},
    },
};
use std::{sync::Arc, time::Duration};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// Pause between two sweeps of the cluster.
const EVERY: Duration = Duration::from_mins(5);

/// Pause between two looks of one node whether a sweep is due.
const LOOK: Duration = Duration::from_mins(1);

/// Age at which the last report of a node that is gone is removed.
const NODE_AGE: Span = Span::from_secs(24 * 3_600);

/// Removes the records that are beyond the limits of the cluster.
pub struct Sweeper {
    /// The database with the records.
    pub store: Store,
    /// Id of this node, which takes the lease on sweeps.
    pub node: String,
    /// Reads the limits that the cluster has now.
    pub retention: Box<dyn Fn() -> Retention + Send + Sync>,
    /// The counters of this process.
    pub metrics: Arc<Metrics>,
    /// The clock of this node.
    pub clock: Clock,
}

/// One kind of record, with its limit.
#[derive(Debug, Clone, Copy)]
enum Limit {
    Age(AgedRecord, Span),
    Number(NumberedRecord, u64),
}

impl Sweeper {
    /// Sweeps at regular intervals until it is told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut outage = Outage::new(
            &self.clock,
            "old records cannot be removed, and hearken tries again",
            "old records are removed again",
        );
        loop {
            let Some(swept) = stop.run_until_cancelled(self.turn(EVERY)).await else { return };
            match swept {
                Ok(_) => outage.over(),
                Err(error) => drop(outage.failed(&error_chain(&error))),
            }
            if stop.run_until_cancelled(sleep(LOOK)).await.is_none() {
                return;
            }
        }
    }

    /// Sweeps, unless a node of the cluster sweeps now or has swept less than `every` ago. Returns
    /// the number of records removed; `None` without a sweep.
    ///
    /// # Errors
    /// When the database cannot be used. The next sweep removes what is left.
    pub async fn turn(&self, every: Duration) -> Result<Option<u64>, StoreError> {
        // Asked first: it is one statement, and most answers are no. A turn that is lost to the
        // sweep of another node comes back after `every`.
        if !self.store.take_sweep_turn(every).await? {
            return Ok(None);
        }
        let lease = self.store.try_take(LeaseName::Sweep, &self.node).await?;
        let Some(lease) = lease else { return Ok(None) };
        let swept = self.sweep(&lease).await.map(Some);
        lease.release().await;
        swept
    }

    async fn sweep(&self, lease: &Lease) -> Result<u64, StoreError> {
        let Retention { dead_letters, tasks, commands, passes, .. } = (self.retention)();
        let mut removed = 0;
        for limit in [
            Limit::Age(AgedRecord::DeadLetter, dead_letters),
            Limit::Age(AgedRecord::Task, tasks.age),
            Limit::Number(NumberedRecord::Task, tasks.count),
            Limit::Age(AgedRecord::Command, commands.age),
            Limit::Number(NumberedRecord::Command, commands.count),
            Limit::Age(AgedRecord::Pass, passes.age),
            Limit::Number(NumberedRecord::Pass, passes.count),
            Limit::Age(AgedRecord::Node, NODE_AGE),
        ] {
            removed += self.sweep_records(limit, lease).await?;
        }
        Ok(removed)
    }

    /// Removes the records beyond one limit, batch by batch, while the lease is held.
    async fn sweep_records(&self, limit: Limit, lease: &Lease) -> Result<u64, StoreError> {
        let mut removed = 0;
        loop {
            let batch = match limit {
                Limit::Age(record, age) => self.store.remove_old(record, age).await?,
                Limit::Number(record, count) => self.store.remove_surplus(record, count).await?,
            };
            removed += batch;
            self.metrics.swept(limit.record(), batch);
            if batch < BATCH as u64 {
                break;
            }
            lease.check().await?;
        }
        if removed > 0 {
            let record = limit.record();
            tracing::info!(record, removed, "{removed} old records were removed: {record}");
        }
        Ok(removed)
    }
}

impl Limit {
    /// Name of the record, for the log and the metrics.
    fn record(self) -> &'static str {
        match self {
            Self::Age(AgedRecord::DeadLetter, _) => "dead-letter",
            Self::Age(AgedRecord::Task, _) | Self::Number(NumberedRecord::Task, _) => "task",
            Self::Age(AgedRecord::Command, _) | Self::Number(NumberedRecord::Command, _) => {
                "command"
            }
            Self::Age(AgedRecord::Pass, _) | Self::Number(NumberedRecord::Pass, _) => "pass",
            Self::Age(AgedRecord::Node, _) => "node",
        }
    }
}
