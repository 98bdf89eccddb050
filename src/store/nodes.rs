//! The nodes of the cluster, as they report their own state.

use super::{
    Store, codec,
    engine::{args, json, statements},
    error::StoreError,
    row::{Row, word},
};
use crate::domain::report::{NodeState, NodeStatus};
use std::time::Duration;
use time::OffsetDateTime;
use uuid::Uuid;

statements! {
    /// Changes nothing while another process that lives uses the id: `$2` is the instance, `$8` how
    /// long it has run.
    BEAT = "INSERT INTO node (id, instance, host, software, state, started_at, last_seen, roster_version, listeners, event_forms) \
            SELECT $1, $2, $3, $4, $5, now - $8, now, $6, $7, $9 FROM clock WHERE 1 = 1 \
            ON CONFLICT (id) DO UPDATE SET instance = excluded.instance, host = excluded.host, \
            software = excluded.software, state = excluded.state, \
            started_at = CASE WHEN node.instance = excluded.instance THEN node.started_at ELSE excluded.started_at END, \
            last_seen = excluded.last_seen, roster_version = excluded.roster_version, listeners = excluded.listeners, event_forms = excluded.event_forms \
            WHERE node.instance = excluded.instance OR node.state = 'gone' OR node.state = 'stopping' \
            OR node.last_seen < excluded.last_seen - 12000000 \
            RETURNING started_at, last_seen";
    HOLDER = "SELECT host FROM node WHERE id = $1";
    FORGET = "UPDATE node SET state = 'gone' WHERE id = $1";
    ALL = "SELECT id, host, software, state, started_at, last_seen, roster_version, listeners, now - last_seen AS silence \
           FROM node CROSS JOIN clock ORDER BY id";
}

/// Time without a heartbeat after which a node counts as gone, in microseconds.
const SILENCE: i64 = 20_000_000;

/// The database's answer to a heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heartbeat {
    /// The heartbeat is written.
    Written {
        /// Time of the first heartbeat of this instance, by the database's clock.
        started_at: OffsetDateTime,
        /// Time of this heartbeat, by the database's clock.
        last_seen: OffsetDateTime,
    },
    /// Another process with the same node id has sent a heartbeat within twelve seconds, so nothing
    /// is written. The other process may be the predecessor of this process, which was killed.
    IdInUse {
        /// Host of the other process.
        host: String,
    },
}

/// A process that sends heartbeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeInstance {
    /// Identity of the process.
    pub id: Uuid,
    /// How long the process has run.
    pub uptime: Duration,
}

impl Store {
    /// Writes a heartbeat of a node, with one statement. For a new instance, the node has started
    /// when its process did. The times in `status` are ignored.
    ///
    /// # Errors
    /// When the database cannot be used.
    pub async fn heartbeat(
        &self,
        status: &NodeStatus,
        instance: NodeInstance,
    ) -> Result<Heartbeat, StoreError> {
        let uptime = u64::try_from(instance.uptime.as_micros()).unwrap_or(u64::MAX);
        let values = args![
            status.id.as_str(),
            instance.id,
            status.host.as_str(),
            status.version.as_str(),
            word(&status.state),
            status.roster_version,
            json(&status.listeners),
            uptime,
            codec::FORMS,
        ];
        let rows = self.inner.engine.write_returning(BEAT, values).await?;
        let Some(row) = rows.first() else {
            let holder = self.inner.engine.read(HOLDER, args![status.id.as_str()]).await?;
            let host = holder.first().map(|row| row.text("host")).transpose()?;
            return Ok(Heartbeat::IdInUse { host: host.unwrap_or_default() });
        };
        let (started_at, last_seen) = (row.time("started_at")?, row.time("last_seen")?);
        Ok(Heartbeat::Written { started_at, last_seen })
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
