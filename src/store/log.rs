//! The roster's history.

use super::{
    Store,
    codec::{self, PayloadError},
    engine::{Tx, args, statements},
    error::StoreError,
    failure::{DriverFailure, FailureKind},
    row::Row,
};
use crate::domain::{
    adoption::LogIdentity,
    event::{Audit, NodeRef, RecordedEvent, RosterEvent, Version},
    name::GroupName,
};
use time::OffsetDateTime;
use uuid::Uuid;

statements! {
    CLAIM = "INSERT INTO roster_command (command_id, fingerprint) VALUES ($1, $2) ON CONFLICT (command_id) DO NOTHING";
    FINGERPRINT = "SELECT fingerprint FROM roster_command WHERE command_id = $1";
    OF_COMMAND = "SELECT version, event_id, event_type, schema_version, payload, actor, node_id, node_host, reason, command_id, request_id, recorded_at \
                  FROM roster_event WHERE command_id = $1 ORDER BY version";
    /// Inserts nothing when the previous version does not exist.
    INSERT = "INSERT INTO roster_event (version, event_id, event_type, schema_version, payload, group_name, actor, node_id, node_host, reason, command_id, request_id) \
              SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12 \
              WHERE CAST($1 AS BIGINT) = 1 OR EXISTS (SELECT 1 FROM roster_event WHERE version = CAST($1 AS BIGINT) - 1) RETURNING recorded_at";
    AFTER = "SELECT version, event_id, event_type, schema_version, payload, actor, node_id, node_host, reason, command_id, request_id, recorded_at \
             FROM roster_event WHERE version > $1 ORDER BY version LIMIT $2";
    /// One statement, so that the check and the events are read from one snapshot.
    CATCH_UP = "SELECT e.version, e.event_id, e.event_type, e.schema_version, e.payload, e.actor, e.node_id, e.node_host, e.reason, e.command_id, e.request_id, e.recorded_at, i.cluster_id, i.log_id, (SELECT p.event_id FROM roster_event p WHERE p.version = $1) AS mine, \
                (SELECT COALESCE(MAX(h.version), 0) FROM roster_event h) AS head \
                FROM identity i LEFT JOIN (SELECT * FROM roster_event WHERE version > $1 ORDER BY version LIMIT $2) e ON 1 = 1 \
                ORDER BY e.version";
    /// A live node whose program does not know a form of events.
    OUTDATED = "SELECT id, software FROM node CROSS JOIN clock \
                WHERE event_forms < $1 AND state <> 'gone' AND last_seen >= now - 20000000 ORDER BY id LIMIT 1";
    HEAD = "SELECT COALESCE(MAX(version), 0) AS head FROM roster_event";
}

/// Reason why this call did not append events.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// The history does not have the expected version, because another command was recorded first.
    /// Nothing was written. The caller catches up and decides again.
    #[error("the roster changed in the meantime")]
    Conflict,
    /// The command took effect before, with these events. This call wrote nothing.
    #[error("the command took effect before")]
    Replayed(Vec<RecordedEvent>),
    /// The command's id was used for another command. Nothing was written.
    #[error("the idempotency key was used for another command")]
    CommandReused,
    /// The database failed. When it is unavailable, the outcome is unknown; [`Store::command`]
    /// tells.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DriverFailure> for AppendError {
    fn from(failure: DriverFailure) -> Self {
        match failure.kind {
            FailureKind::Duplicate | FailureKind::Contention => Self::Conflict,
            _ => Self::Store(failure.into()),
        }
    }
}

/// A command that took effect.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedCommand {
    /// Digest of the request, if the sender gave an `Idempotency-Key`.
    pub fingerprint: Option<Vec<u8>>,
    /// Events of the command.
    pub events: Vec<RecordedEvent>,
}

impl Store {
    /// Appends events after version `expected`, all or none, and rings the doorbell. Without
    /// events, nothing happens.
    ///
    /// With a fingerprint, the command's id is claimed in the same transaction. So a command that
    /// is sent several times, even at the same time, takes effect once. The ids of the events are
    /// derived from the command's id, so a command without a fingerprint takes effect once, too.
    ///
    /// # Errors
    /// [`AppendError`]: this call wrote nothing, or the outcome is unknown. It wrote nothing when a
    /// live node runs a program that cannot read one of the events.
    pub async fn append(
        &self,
        expected: Version,
        events: &[RosterEvent],
        audit: &Audit,
        fingerprint: Option<&[u8; 32]>,
    ) -> Result<Vec<RecordedEvent>, AppendError> {
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let mut tx = self.inner.engine.begin(&self.inner.bell).await?;
        check_forms(&mut tx, events).await?;
        if let Some(fingerprint) = fingerprint {
            claim(&mut tx, audit.command_id, fingerprint).await?;
        }
        match insert_all(&mut tx, expected, events, audit).await {
            Ok(recorded) => {
                tx.ring().await?;
                tx.commit().await?;
                Ok(recorded)
            }
            Err(AppendError::Conflict) => {
                tx.rollback().await?;
                // A repeated command collides with its own events.
                match self.command(audit.command_id).await? {
                    Some(command) => Err(AppendError::Replayed(command.events)),
                    None => Err(AppendError::Conflict),
                }
            }
            Err(other) => Err(other),
        }
    }

    /// A recorded command; `None` when it never took effect.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn command(&self, id: Uuid) -> Result<Option<RecordedCommand>, StoreError> {
        let engine = &self.inner.engine;
        let events = read_all(&engine.read(OF_COMMAND, args![id]).await?)?;
        if events.is_empty() {
            return Ok(None);
        }
        // Written by the same transaction as the events, so it exists now or never.
        let claims = engine.read(FINGERPRINT, args![id]).await?;
        let fingerprint = claims.first().map(|row| row.bytes("fingerprint")).transpose()?;
        Ok(Some(RecordedCommand { fingerprint, events }))
    }

    /// The next events after a version, at most `limit`, in order.
    ///
    /// # Errors
    /// [`StoreError::Hole`] when a version is missing, and [`StoreError::UnknownEvent`] when an
    /// event cannot be read. Then no event of the page is returned.
    pub async fn events_after(
        &self,
        version: Version,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = self.inner.engine.read(AFTER, args![version, limit]).await?;
        read_dense(version, &rows)
    }

    /// The events after version `mine`, for a caller that read the history up to `mine` with event
    /// `last_event`. Checks in the same snapshot that the database still holds that history.
    ///
    /// # Errors
    /// [`StoreError::Adopted`] when the log got another identity, [`StoreError::AnotherLog`] and
    /// [`StoreError::Diverged`] when the database holds another history, [`StoreError::Shorter`]
    /// when it holds only the beginning of this history, and the errors of
    /// [`Store::events_after`].
    pub async fn catch_up(
        &self,
        mine: Version,
        last_event: Option<Uuid>,
        limit: usize,
    ) -> Result<Vec<RecordedEvent>, StoreError> {
        let rows = self.inner.engine.read(CATCH_UP, args![mine, limit]).await?;
        let diverged = || StoreError::Diverged { version: mine };
        let first = rows.first().ok_or_else(diverged)?;
        let (cluster, log) = (first.uuid("cluster_id")?, first.uuid("log_id")?);
        let there = first.opt_uuid("mine")?;
        let same_event =
            mine == 0 || (there.is_some() && (last_event.is_none() || there == last_event));
        if (LogIdentity { cluster, log }) != self.identity() {
            // The adoption of a log keeps the events that this caller has read.
            let another = StoreError::AnotherLog { version: mine };
            return Err(if same_event { StoreError::Adopted } else { another });
        }
        let head = first.count("head")?;
        if head < mine {
            return Err(StoreError::Shorter { head, version: mine });
        }
        if !same_event {
            return Err(diverged());
        }
        if first.opt_int("version")?.is_none() {
            return Ok(Vec::new());
        }
        read_dense(mine, &rows)
    }

    /// Newest version; 0 before any event.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn head(&self) -> Result<Version, StoreError> {
        let rows = self.inner.engine.read(HEAD, &[]).await?;
        rows.first().map_or(Ok(0), |row| row.count("head"))
    }
}

/// Refuses events that a live node cannot read: its tail would halt at the first of these events.
pub(super) async fn check_forms(tx: &mut Tx, events: &[RosterEvent]) -> Result<(), StoreError> {
    let newest = events.iter().map(codec::form).max().unwrap_or_default();
    let outdated = tx.fetch(OUTDATED, args![newest]).await?;
    let Some(node) = outdated.first() else { return Ok(()) };
    Err(StoreError::OutdatedNode { node: node.text("id")?, software: node.text("software")? })
}

/// Claims a command's id. Concurrent calls for one command wait here for each other.
async fn claim(tx: &mut Tx, id: Uuid, fingerprint: &[u8; 32]) -> Result<(), AppendError> {
    if tx.execute(CLAIM, args![id, fingerprint.as_slice()]).await? == 1 {
        return Ok(());
    }
    let claims = tx.fetch(FINGERPRINT, args![id]).await?;
    let taken = claims.first().ok_or(AppendError::Conflict)?.bytes("fingerprint")?;
    if taken != fingerprint {
        return Err(AppendError::CommandReused);
    }
    Err(AppendError::Replayed(read_all(&tx.fetch(OF_COMMAND, args![id]).await?)?))
}

pub(super) async fn insert_all(
    tx: &mut Tx,
    expected: Version,
    events: &[RosterEvent],
    audit: &Audit,
) -> Result<Vec<RecordedEvent>, AppendError> {
    let mut recorded = Vec::with_capacity(events.len());
    for (version, event) in (expected + 1..).zip(events) {
        let ordinal = version - expected;
        let event_id = Uuid::new_v5(&audit.command_id, &ordinal.to_be_bytes());
        let recorded_at = insert(tx, version, event_id, event, audit).await?;
        let (event, audit) = (event.clone(), audit.clone());
        recorded.push(RecordedEvent { version, event_id, event, audit, recorded_at });
    }
    Ok(recorded)
}

async fn insert(
    tx: &mut Tx,
    version: Version,
    event_id: Uuid,
    event: &RosterEvent,
    audit: &Audit,
) -> Result<OffsetDateTime, AppendError> {
    let stored = codec::encode(event);
    let rows = tx
        .fetch(
            INSERT,
            args![
                version,
                event_id,
                stored.event_type,
                stored.schema_version,
                stored.payload,
                event.group().map(GroupName::as_str),
                audit.actor.as_str(),
                audit.node.id.as_str(),
                audit.node.host.as_str(),
                audit.reason.as_deref(),
                audit.command_id,
                audit.request_id.as_deref(),
            ],
        )
        .await?;
    Ok(rows.first().ok_or(AppendError::Conflict)?.time("recorded_at")?)
}

/// Reads events whose versions must follow each other without a hole.
fn read_dense(after: Version, rows: &[Row]) -> Result<Vec<RecordedEvent>, StoreError> {
    for (expected, row) in (after + 1..).zip(rows) {
        let found = row.count("version")?;
        if found != expected {
            return Err(StoreError::Hole { expected, found });
        }
    }
    read_all(rows)
}

pub(super) fn read_all(rows: &[Row]) -> Result<Vec<RecordedEvent>, StoreError> {
    rows.iter().map(read).collect()
}

fn read(row: &Row) -> Result<RecordedEvent, StoreError> {
    let version = row.count("version")?;
    let event_type = row.text("event_type")?;
    let schema_version = row.int("schema_version")?;
    let event = match codec::decode(&event_type, schema_version, row.json("payload")?) {
        Ok(event) => event,
        Err(PayloadError::Unknown) => {
            return Err(StoreError::UnknownEvent { version, event_type, schema_version });
        }
        Err(PayloadError::Malformed(cause)) => {
            let what = format!("version {version} of the roster, {event_type}: {cause}");
            return Err(StoreError::Corrupt { what });
        }
    };
    let audit = Audit {
        actor: row.text("actor")?,
        node: NodeRef { id: row.text("node_id")?, host: row.text("node_host")? },
        reason: row.opt_text("reason")?,
        command_id: row.uuid("command_id")?,
        request_id: row.opt_text("request_id")?,
    };
    let (event_id, recorded_at) = (row.uuid("event_id")?, row.time("recorded_at")?);
    Ok(RecordedEvent { version, event_id, event, audit, recorded_at })
}
