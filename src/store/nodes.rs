//! The nodes of the cluster, as they report their own state.

use super::{
    Store,
    engine::{args, json, statements},
    error::StoreError,
    row::{Row, word},
};
use crate::domain::report::{NodeState, NodeStatus};
use time::OffsetDateTime;
use uuid::Uuid;

statements! {
    /// Another instance with the same id that is not known to be gone.
    TWIN = "SELECT host FROM node WHERE id = $1 AND instance <> $2 AND state <> 'gone' AND state <> 'stopping' \
            AND last_seen >= (SELECT now FROM clock) - 20000000";
    BEAT = "INSERT INTO node (id, instance, host, software, state, started_at, last_seen, roster_version, listeners) \
            SELECT $1, $2, $3, $4, $5, now, now, $6, $7 FROM clock WHERE 1 = 1 \
            ON CONFLICT (id) DO UPDATE SET instance = excluded.instance, host = excluded.host, \
            software = excluded.software, state = excluded.state, \
            started_at = CASE WHEN node.instance = excluded.instance THEN node.started_at ELSE excluded.started_at END, \
            last_seen = excluded.last_seen, roster_version = excluded.roster_version, listeners = excluded.listeners \
            RETURNING started_at, last_seen";
    FORGET = "UPDATE node SET state = 'gone' WHERE id = $1";
    ALL = "SELECT n.*, now - last_seen AS silence FROM node n CROSS JOIN clock ORDER BY id";
}

/// Time without a heartbeat after which a node counts as gone, in microseconds.
const SILENCE: i64 = 20_000_000;

/// The database's answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Host of another process with the same node id. Two nodes with one id overwrite each other's
    /// reports, so one of them needs another id.
    pub twin: Option<String>,
    /// Time of the first heartbeat of this instance, by the database's clock.
    pub started_at: OffsetDateTime,
    /// Time of this heartbeat, by the database's clock.
    pub last_seen: OffsetDateTime,
}

impl Store {
    /// Writes a heartbeat of a node. `instance` identifies the process: for a new instance, the
    /// node has started now. The times in `status` are ignored.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn heartbeat(
        &self,
        status: &NodeStatus,
        instance: Uuid,
    ) -> Result<Heartbeat, StoreError> {
        let mut tx = self.inner.engine.begin(&self.inner.bell).await?;
        let twins = tx.fetch(TWIN, args![status.id.as_str(), instance]).await?;
        let twin = twins.first().map(|row| row.text("host")).transpose()?;
        let rows = tx
            .fetch(
                BEAT,
                args![
                    status.id.as_str(),
                    instance,
                    status.host.as_str(),
                    status.version.as_str(),
                    word(&status.state),
                    status.roster_version,
                    json(&status.listeners),
                ],
            )
            .await?;
        let unreported = || StoreError::Corrupt { what: format!("node {} vanished", status.id) };
        let row = rows.first().ok_or_else(unreported)?;
        let (started_at, last_seen) = (row.time("started_at")?, row.time("last_seen")?);
        tx.commit().await?;
        Ok(Heartbeat { twin, started_at, last_seen })
    }

    /// Every node, by id. A node without a heartbeat for 20 seconds is gone.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn nodes(&self) -> Result<Vec<NodeStatus>, StoreError> {
        self.inner.engine.read(ALL, &[]).await?.iter().map(read).collect()
    }

    /// Marks a node that stopped normally as gone, so that no other node waits for it.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn forget_node(&self, id: &str) -> Result<(), StoreError> {
        self.inner.engine.write(FORGET, args![id]).await?;
        Ok(())
    }
}

fn read(row: &Row) -> Result<NodeStatus, StoreError> {
    let silent = row.int("silence")? > SILENCE;
    Ok(NodeStatus {
        id: row.text("id")?,
        host: row.text("host")?,
        version: row.text("software")?,
        state: if silent { NodeState::Gone } else { row.word("state")? },
        started_at: row.time("started_at")?,
        last_seen: row.time("last_seen")?,
        roster_version: row.count("roster_version")?,
        listeners: row.record("listeners")?,
    })
}
