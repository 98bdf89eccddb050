//! Dead letters.

mod purge;
mod usage;

pub use purge::{PurgeStep, PurgeWindow};
pub use usage::DeadLetterCount;

use super::{
    Store,
    engine::{Arg, Sql, args, json, statements},
    error::StoreError,
    row::Row,
};
use crate::{
    clock::to_micros,
    domain::{
        dead_letter::DeadLetter,
        name::{BusName, GroupName},
        retention::DeadLetterQuota,
    },
};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use uuid::Uuid;

/// Adds the condition of a filter to a statement: `$1` bus, `$2` group, `$3` type, `$4` user, `$5`
/// and `$6` limits of the last failure.
macro_rules! filtered {
    ($before:literal, $after:literal) => {
        concat!(
            $before,
            " WHERE (CAST($1 AS TEXT) IS NULL OR bus = $1) AND (CAST($2 AS TEXT) IS NULL OR group_name = $2)",
            " AND (CAST($3 AS TEXT) IS NULL OR event_type = $3) AND (CAST($4 AS TEXT) IS NULL OR user_name = $4)",
            " AND (CAST($5 AS BIGINT) IS NULL OR last_failed_at < $5) AND (CAST($6 AS BIGINT) IS NULL OR last_failed_at >= $6)",
            $after
        )
    };
}

use filtered;

/// The statements of dead letters.
pub(super) fn statements() -> Vec<(&'static str, Sql)> {
    [STATEMENTS, purge::STATEMENTS, usage::STATEMENTS].concat()
}

statements! {
    /// Keeps an entry, unless the entry exists or its group has reached the quota `$17`, `$18`.
    INSERT = "INSERT INTO dead_letter (id, bus, group_name, origin, event_id, event_type, user_name, content_type, body, keys, cause, attempts, \
        first_failed_at, last_failed_at, node, previous) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16 \
        WHERE NOT EXISTS (SELECT 1 FROM dead_letter_usage WHERE bus = $2 AND group_name = $3 GROUP BY bus, group_name HAVING SUM(entries) >= CAST($17 AS BIGINT) OR SUM(bytes) >= CAST($18 AS BIGINT)) \
        ON CONFLICT (id) DO NOTHING";
    EXISTS = "SELECT 1 FROM dead_letter WHERE id = $1";
    PAGE = filtered!(
        "SELECT seq, id, bus, group_name, origin, event_id, event_type, user_name, content_type, keys, cause, attempts, \
            first_failed_at, last_failed_at, node, previous FROM dead_letter",
        " AND seq > $7 ORDER BY seq LIMIT $8"
    );
    IDS = filtered!("SELECT seq, id FROM dead_letter", " AND seq > $7 ORDER BY seq LIMIT $8");
    LAST = "SELECT COALESCE(MAX(seq), 0) AS seq FROM dead_letter";
    GROUPS = "SELECT DISTINCT group_name FROM dead_letter";
    COUNT = filtered!("SELECT COUNT(*) AS count FROM dead_letter", "");
    ONE = "SELECT seq, id, bus, group_name, origin, event_id, event_type, user_name, content_type, body, keys, cause, attempts, first_failed_at, last_failed_at, node, previous \
           FROM dead_letter WHERE id = $1";
    REMOVE = "DELETE FROM dead_letter WHERE id = $1";
}

/// Filter for entries. An absent field does not limit the entries.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Bus of the event.
    pub bus: Option<BusName>,
    /// Group of the entry.
    pub group: Option<GroupName>,
    /// Type of the event.
    pub event_type: Option<String>,
    /// User that the event is about.
    pub user: Option<String>,
    /// Latest time of the last failure; an entry at this time is left out.
    pub before: Option<OffsetDateTime>,
    /// Earliest time of the last failure.
    pub since: Option<OffsetDateTime>,
}

/// An entry's place and id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeadLetterId {
    /// Place of the entry. Newer entries have higher places.
    pub seq: i64,
    /// Id of the entry.
    pub id: Uuid,
}

impl DeadLetterFilter {
    fn values(&self) -> Vec<Arg> {
        let micros = |at: Option<OffsetDateTime>| Arg::OptInt(at.map(to_micros));
        let text = |value: &Option<String>| Arg::OptText(value.as_deref().map(storable));
        vec![
            Arg::OptText(self.bus.as_ref().map(ToString::to_string)),
            Arg::OptText(self.group.as_ref().map(ToString::to_string)),
            text(&self.event_type),
            text(&self.user),
            micros(self.before),
            micros(self.since),
        ]
    }
}

impl Store {
    /// Keeps an entry. `false` when an entry of this id exists already. The character NUL in texts
    /// is replaced, so that no event is lost because of it.
    ///
    /// # Errors
    /// [`StoreError::DeadLettersFull`] when the group has reached its quota; the entry is not kept.
    /// When the database cannot be used, it is not known whether the entry is kept.
    pub async fn keep_dead_letter(
        &self,
        letter: &DeadLetter,
        body: &[u8],
    ) -> Result<bool, StoreError> {
        let (insert, values) = insertion(letter, body, self.dead_letter_quota());
        if self.inner.engine.write(insert, &values).await? == 1 {
            return Ok(true);
        }
        let known = self.inner.engine.read(EXISTS, args![letter.id]).await?;
        if known.is_empty() { Err(full(letter)) } else { Ok(false) }
    }

    /// The entries that a filter lets through and whose place is after `seq`, each with its place,
    /// in the order in which they were kept.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letters_from(
        &self,
        filter: &DeadLetterFilter,
        seq: i64,
        limit: usize,
    ) -> Result<Vec<(i64, DeadLetter)>, StoreError> {
        let mut values = filter.values();
        values.extend([Arg::from(seq), Arg::from(limit)]);
        let rows = self.inner.engine.read(PAGE, &values).await?;
        rows.iter().map(|row| Ok((row.int("seq")?, read(row)?))).collect()
    }

    /// Places and ids of the entries that [`Store::dead_letters_from`] would return.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letter_ids(
        &self,
        filter: &DeadLetterFilter,
        seq: i64,
        limit: usize,
    ) -> Result<Vec<DeadLetterId>, StoreError> {
        let mut values = filter.values();
        values.extend([Arg::from(seq), Arg::from(limit)]);
        let rows = self.inner.engine.read(IDS, &values).await?;
        rows.iter()
            .map(|row| Ok(DeadLetterId { seq: row.int("seq")?, id: row.uuid("id")? }))
            .collect()
    }

    /// Place of the newest entry; 0 when there is no entry. Entries that are kept after this call
    /// have higher places.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn last_dead_letter(&self) -> Result<i64, StoreError> {
        let rows = self.inner.engine.read(LAST, &[]).await?;
        rows.first().map_or(Ok(0), |row| row.int("seq"))
    }

    /// The groups with entries.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letter_groups(&self) -> Result<BTreeSet<GroupName>, StoreError> {
        let rows = self.inner.engine.read(GROUPS, &[]).await?;
        rows.iter().map(|row| row.word("group_name")).collect()
    }

    /// Number of entries that a filter lets through.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn count_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreError> {
        let rows = self.inner.engine.read(COUNT, &filter.values()).await?;
        rows.first().map_or(Ok(0), |row| row.count("count"))
    }

    /// An entry and the body of its event.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letter(&self, id: Uuid) -> Result<Option<(DeadLetter, Vec<u8>)>, StoreError> {
        let rows = self.inner.engine.read(ONE, args![id]).await?;
        rows.first().map(|row| Ok((read(row)?, row.bytes("body")?))).transpose()
    }

    /// Removes an entry. `false` when no entry has this id.
    ///
    /// # Errors
    /// When the database cannot be used. It is not known whether the entry is removed.
    pub async fn remove_dead_letter(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.inner.engine.write(REMOVE, args![id]).await? == 1)
    }
}

/// Replaces the character NUL, which PostgreSQL cannot store in a text.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// Refusal of an entry whose group has reached its quota.
pub(super) fn full(letter: &DeadLetter) -> StoreError {
    StoreError::DeadLettersFull { bus: letter.bus.clone(), group: letter.group.clone() }
}

/// Statement that keeps an entry, unless an entry of its id exists or its group has reached the
/// quota, with its values.
pub(super) fn insertion(
    letter: &DeadLetter,
    body: &[u8],
    quota: DeadLetterQuota,
) -> (Sql, Vec<Arg>) {
    let opt = |value: &Option<String>| value.as_deref().map(storable);
    let values: &[Arg] = args![
        letter.id,
        letter.bus.as_str(),
        letter.group.as_str(),
        letter.origin.as_ref().map(GroupName::as_str),
        opt(&letter.event_id),
        opt(&letter.event_type),
        opt(&letter.user),
        opt(&letter.content_type),
        body,
        json(&letter.keys),
        storable(&letter.cause),
        letter.attempts,
        to_micros(letter.first_failed_at),
        to_micros(letter.last_failed_at),
        storable(&letter.node),
        letter.previous,
        quota.entries,
        quota.bytes,
    ];
    (INSERT, values.to_vec())
}

fn read(row: &Row) -> Result<DeadLetter, StoreError> {
    let origin = row.opt_text("origin")?.map(|_| row.word("origin")).transpose()?;
    Ok(DeadLetter {
        id: row.uuid("id")?,
        bus: row.word("bus")?,
        group: row.word("group_name")?,
        origin,
        event_id: row.opt_text("event_id")?,
        event_type: row.opt_text("event_type")?,
        user: row.opt_text("user_name")?,
        content_type: row.opt_text("content_type")?,
        keys: row.record("keys")?,
        cause: row.text("cause")?,
        attempts: row.small("attempts")?,
        first_failed_at: row.time("first_failed_at")?,
        last_failed_at: row.time("last_failed_at")?,
        node: row.text("node")?,
        previous: row.opt_uuid("previous")?,
    })
}
