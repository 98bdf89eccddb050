//! Events that somebody gave up on.

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
    },
};
use std::collections::BTreeSet;
use time::OffsetDateTime;
use uuid::Uuid;

/// What a filter lets through: `$1` bus, `$2` group, `$3` type, `$4` user, `$5` and `$6` limits of
/// the last failure.
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

statements! {
    INSERT = "INSERT INTO dead_letter (id, bus, group_name, origin, event_id, event_type, user_name, content_type, body, keys, cause, attempts, \
        first_failed_at, last_failed_at, node, previous) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) \
        ON CONFLICT (id) DO NOTHING";
    PAGE = filtered!(
        "SELECT seq, id, bus, group_name, origin, event_id, event_type, user_name, content_type, keys, cause, attempts, \
            first_failed_at, last_failed_at, node, previous FROM dead_letter",
        " AND seq > $7 ORDER BY seq LIMIT $8"
    );
    IDS = filtered!("SELECT seq, id FROM dead_letter", " AND seq > $7 ORDER BY seq LIMIT $8");
    LAST = "SELECT COALESCE(MAX(seq), 0) AS seq FROM dead_letter";
    GROUPS = "SELECT DISTINCT group_name FROM dead_letter";
    COUNT = filtered!("SELECT COUNT(*) AS count FROM dead_letter", "");
    ONE = "SELECT * FROM dead_letter WHERE id = $1";
    REMOVE = "DELETE FROM dead_letter WHERE id = $1";
    PURGE = filtered!("DELETE FROM dead_letter", "");
    COUNTS = "SELECT bus, group_name, COUNT(*) AS count, MIN(first_failed_at) AS oldest FROM dead_letter \
        GROUP BY bus, group_name ORDER BY group_name, bus";
}

/// Which entries. What is not said lets everything through.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeadLetterFilter {
    /// Of this bus.
    pub bus: Option<BusName>,
    /// Of this group.
    pub group: Option<GroupName>,
    /// Of events of this type.
    pub event_type: Option<String>,
    /// Of events about this user.
    pub user: Option<String>,
    /// That failed for the last time before.
    pub before: Option<OffsetDateTime>,
    /// That failed for the last time then or after.
    pub since: Option<OffsetDateTime>,
}

/// How many entries a group has on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterCount {
    /// The bus.
    pub bus: BusName,
    /// The group.
    pub group: GroupName,
    /// How many.
    pub count: u64,
    /// When the one that has failed for the longest time failed first.
    pub oldest: OffsetDateTime,
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
    /// Keeps an event. `false` when an entry of this id is kept already. The character NUL in its
    /// texts is replaced: an event must not be lost for it.
    ///
    /// # Errors
    /// When the database cannot be used: it may be kept or not.
    pub async fn keep_dead_letter(
        &self,
        letter: &DeadLetter,
        body: &[u8],
    ) -> Result<bool, StoreError> {
        let (insert, values) = insertion(letter, body);
        Ok(self.inner.engine.write(insert, &values).await? == 1)
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

    /// The ids of the entries that [`Store::dead_letters_from`] would return, each with its place.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letter_ids(
        &self,
        filter: &DeadLetterFilter,
        seq: i64,
        limit: usize,
    ) -> Result<Vec<(i64, Uuid)>, StoreError> {
        let mut values = filter.values();
        values.extend([Arg::from(seq), Arg::from(limit)]);
        let rows = self.inner.engine.read(IDS, &values).await?;
        rows.iter().map(|row| Ok((row.int("seq")?, row.uuid("id")?))).collect()
    }

    /// The place of the newest entry; 0 when there is none. Whatever is kept after this call has a
    /// higher place.
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

    /// How many entries a filter lets through.
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

    /// Removes an entry. `false` when there is none of that id.
    ///
    /// # Errors
    /// When the database cannot be used: it may be removed or not.
    pub async fn remove_dead_letter(&self, id: Uuid) -> Result<bool, StoreError> {
        Ok(self.inner.engine.write(REMOVE, args![id]).await? == 1)
    }

    /// Removes the entries that a filter lets through. Returns how many there were.
    ///
    /// # Errors
    /// When the database cannot be used: they may be removed or not.
    pub async fn purge_dead_letters(&self, filter: &DeadLetterFilter) -> Result<u64, StoreError> {
        Ok(self.inner.engine.write(PURGE, &filter.values()).await?)
    }

    /// The groups with entries, by bus.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letter_counts(&self) -> Result<Vec<DeadLetterCount>, StoreError> {
        let rows = self.inner.engine.read(COUNTS, &[]).await?;
        let count = |row: &Row| {
            Ok(DeadLetterCount {
                bus: row.word("bus")?,
                group: row.word("group_name")?,
                count: row.count("count")?,
                oldest: row.time("oldest")?,
            })
        };
        rows.iter().map(count).collect()
    }
}

/// A text that both databases take. PostgreSQL knows no NUL in texts, and an event must not be lost
/// for one.
fn storable(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

/// The statement that keeps an entry, unless one of its id is kept, and its values.
pub(super) fn insertion(letter: &DeadLetter, body: &[u8]) -> (Sql, Vec<Arg>) {
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
