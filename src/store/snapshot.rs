//! What the database holds about the topology, read with one statement.

use super::{
    Store,
    engine::{args, statements},
    error::StoreError,
    lease::{self, Lease, LeaseName},
    row::Row,
};
use crate::domain::{event::Version, name::GroupName, report::TopologyStatus, roster::QueueId};
use std::{collections::BTreeSet, time::Duration};

statements! {
    /// One statement, so that everything comes from one snapshot of one server.
    SNAPSHOT = "SELECT 'status' AS part, status AS record, '' AS label, CAST(0 AS BIGINT) AS number FROM topology_status \
        UNION ALL SELECT 'lease', NULL, holder, token FROM lease WHERE name = $1 \
        UNION ALL SELECT 'marker', NULL, '', marker_made FROM identity \
        UNION ALL SELECT 'retired', NULL, group_name, generation FROM retired_queue";
    /// A released lease expires at its release.
    LAST_PASS = "SELECT status, holder, now - expires_at AS silence FROM topology_status, lease, clock WHERE name = $1";
}

/// The last pass of the cluster, as the database shows it.
#[derive(Debug)]
pub struct LastPass {
    /// Result that was stored last. A pass that failed as the pass before stores no result.
    pub status: TopologyStatus,
    /// Node that took the lease on passes last.
    pub holder: String,
    /// Time since that node released the lease; zero while the node holds the lease.
    pub silence: Duration,
}

/// What the database holds about the topology besides the roster.
#[derive(Debug, Default)]
pub struct TopologySnapshot {
    /// Result of the last pass; the default before any pass.
    pub status: TopologyStatus,
    /// Whether the broker's marker was ever declared for this cluster.
    pub marker_made: bool,
    /// Queues of removed listeners that were deleted.
    pub retired: BTreeSet<QueueId>,
    /// Token of the lease on passes; 0 before the first take.
    token: i64,
}

impl Store {
    /// The last pass; `None` before the first result was stored.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_pass(&self) -> Result<Option<LastPass>, StoreError> {
        let rows = self.inner.engine.read(LAST_PASS, args![LeaseName::Passes.key()]).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let silence = u64::try_from(row.int("silence")?).unwrap_or(0);
        Ok(Some(LastPass {
            status: row.record("status")?,
            holder: lease::node_of(&row.text("holder")?).to_owned(),
            silence: Duration::from_micros(silence),
        }))
    }

    /// Reads the snapshot.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn topology_snapshot(&self) -> Result<TopologySnapshot, StoreError> {
        let rows = self.inner.engine.read(SNAPSHOT, args![LeaseName::Passes.key()]).await?;
        let mut snapshot = TopologySnapshot::default();
        for row in &rows {
            snapshot.add(row)?;
        }
        Ok(snapshot)
    }
}

impl Lease {
    /// Refuses a roster or a snapshot from a server that is older than this lease: a standby that
    /// lags, or another server than the server that gave the lease.
    ///
    /// # Errors
    /// [`StoreError::StaleRead`].
    pub fn check_read(
        &self,
        roster: Version,
        snapshot: &TopologySnapshot,
    ) -> Result<(), StoreError> {
        let is_stale = roster < self.head() || snapshot.token < self.token();
        if is_stale { Err(StoreError::StaleRead) } else { Ok(()) }
    }
}

impl TopologySnapshot {
    fn add(&mut self, row: &Row) -> Result<(), StoreError> {
        match row.text("part")?.as_str() {
            "status" => self.status = row.record("record")?,
            "lease" => self.token = row.int("number")?,
            "marker" => self.marker_made = row.int("number")? == 1,
            _ => {
                let group = GroupName::parse(row.text("label")?)
                    .map_err(|error| StoreError::Corrupt { what: error.to_string() })?;
                self.retired.insert(QueueId::new(group, row.small("number")?));
            }
        }
        Ok(())
    }
}
