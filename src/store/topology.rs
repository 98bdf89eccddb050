//! Results and history of the passes.

use super::{
    Store,
    engine::{args, json, statements},
    error::StoreError,
    lease::Lease,
    row::Row,
};
use crate::domain::{
    name::GroupName,
    report::{PassRecord, PassState, TopologyStatus},
    roster::QueueId,
};
use std::collections::BTreeSet;

statements! {
    STATUS = "SELECT status FROM topology_status";
    SAVE_STATUS = "INSERT INTO topology_status (id, status) VALUES (1, $1) ON CONFLICT (id) DO UPDATE SET status = excluded.status";
    OPEN_PASS = "INSERT INTO pass (record, open) SELECT $1, 1 FROM lease \
                 WHERE name = $2 AND token = $3 AND holder = $4 AND expires_at > (SELECT now FROM clock) RETURNING id";
    UPDATE_PASS = "UPDATE pass SET record = $2, open = $3 WHERE id = $1";
    FORGET_PASS = "DELETE FROM pass WHERE id = $1";
    OPEN_PASSES = "SELECT id, record FROM pass WHERE open = 1 ORDER BY id";
    PASSES = "SELECT id, record FROM pass WHERE id > $1 ORDER BY id LIMIT $2";
    RETIRED = "SELECT group_name, generation FROM retired_queue";
    RETIRE = "INSERT INTO retired_queue (group_name, generation, destroyed) VALUES ($1, $2, $3) ON CONFLICT (group_name, generation) DO NOTHING";
    MARKER_MADE = "SELECT marker_made FROM identity";
    SET_MARKER_MADE = "UPDATE identity SET marker_made = 1";
}

impl Store {
    /// Result of the last pass; the default before any pass.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn topology_status(&self) -> Result<TopologyStatus, StoreError> {
        let rows = self.inner.engine.read(STATUS, &[]).await?;
        rows.first().map_or_else(|| Ok(TopologyStatus::default()), |row| row.record("status"))
    }

    /// The passes after a number, at most `limit`, oldest first.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn passes(&self, after: u64, limit: usize) -> Result<Vec<PassRecord>, StoreError> {
        let rows = self.inner.engine.read(PASSES, args![after, limit]).await?;
        rows.iter().map(read_pass).collect()
    }

    /// The queues of removed listeners that were deleted.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn retired(&self) -> Result<BTreeSet<QueueId>, StoreError> {
        let rows = self.inner.engine.read(RETIRED, &[]).await?;
        let id = |row: &Row| {
            let group = GroupName::parse(row.text("group_name")?)
                .map_err(|error| StoreError::Corrupt { what: error.to_string() })?;
            Ok(QueueId::new(group, row.small("generation")?))
        };
        rows.iter().map(id).collect()
    }

    /// Whether the broker's marker was ever declared for this cluster.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn marker_made(&self) -> Result<bool, StoreError> {
        let rows = self.inner.engine.read(MARKER_MADE, &[]).await?;
        rows.first().map_or(Ok(false), |row| Ok(row.int("marker_made")? == 1))
    }
}

fn read_pass(row: &Row) -> Result<PassRecord, StoreError> {
    Ok(PassRecord { id: row.count("id")?, ..row.record("record")? })
}

/// What a pass writes. Each write fails with [`StoreError::LeaseLost`], and changes nothing, when
/// this process does not hold the lease any more.
impl Lease {
    /// Saves the result of a pass, and rings the doorbell.
    ///
    /// # Errors
    /// When the lease is lost, or the database cannot be used.
    pub async fn save_topology_status(&self, status: &TopologyStatus) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(SAVE_STATUS, args![json(status)]).await?;
        tx.ring().await?;
        Ok(tx.commit().await?)
    }

    /// Records a pass, and gives it its number. A pass that has a number replaces its record.
    ///
    /// # Errors
    /// When the lease is lost, or the database cannot be used.
    pub async fn record_pass(&self, pass: &mut PassRecord) -> Result<(), StoreError> {
        if pass.id == 0 && pass.state == PassState::Running {
            let rows = self.insert(OPEN_PASS, args![json(pass)]).await?;
            pass.id = rows.first().map_or(Ok(0), |row| row.count("id"))?;
            return Ok(());
        }
        let open = i64::from(pass.state == PassState::Running);
        let mut tx = self.begin().await?;
        tx.execute(UPDATE_PASS, args![pass.id, json(pass), open]).await?;
        Ok(tx.commit().await?)
    }

    /// Removes the record of a pass that changed nothing.
    ///
    /// # Errors
    /// When the lease is lost, or the database cannot be used.
    pub async fn forget_pass(&self, id: u64) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(FORGET_PASS, args![id]).await?;
        Ok(tx.commit().await?)
    }

    /// The passes of earlier holders of this lease that have no end.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn unfinished_passes(&self) -> Result<Vec<PassRecord>, StoreError> {
        if self.open_passes() == 0 {
            return Ok(Vec::new());
        }
        self.read(OPEN_PASSES).await?.iter().map(read_pass).collect()
    }

    /// Notes that a removed listener's queue was deleted, and the number of events that were
    /// destroyed.
    ///
    /// # Errors
    /// When the lease is lost, or the database cannot be used.
    pub async fn retire(&self, queue: &QueueId, destroyed: u64) -> Result<(), StoreError> {
        let values = args![queue.group.as_str(), queue.generation, destroyed];
        let mut tx = self.begin().await?;
        tx.execute(RETIRE, values).await?;
        Ok(tx.commit().await?)
    }

    /// Notes that the broker's marker was declared.
    ///
    /// # Errors
    /// When the lease is lost, or the database cannot be used.
    pub async fn set_marker_made(&self) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        tx.execute(SET_MARKER_MADE, &[]).await?;
        Ok(tx.commit().await?)
    }
}
