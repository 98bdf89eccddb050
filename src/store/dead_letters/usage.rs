//! Number and size of the dead letters of each group, and the quota on them.

use crate::{
    domain::{
        name::{BusName, GroupName},
        retention::DeadLetterQuota,
    },
    store::{Store, engine::statements, error::StoreError, row::Row},
};
use time::OffsetDateTime;

statements! {
    /// Costs one look into an index for each group, because triggers count the entries.
    COUNTS = "SELECT bus, group_name, entries, bytes, COALESCE((SELECT first_failed_at FROM dead_letter d \
            WHERE d.group_name = u.group_name AND d.bus = u.bus ORDER BY seq LIMIT 1), 0) AS oldest FROM (\
            SELECT bus, group_name, CAST(SUM(entries) AS BIGINT) AS entries, CAST(SUM(bytes) AS BIGINT) AS bytes \
                FROM dead_letter_usage GROUP BY bus, group_name HAVING SUM(entries) > 0\
        ) AS u ORDER BY group_name, bus";
}

/// Dead letters of a group on a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetterCount {
    /// The bus.
    pub bus: BusName,
    /// The group.
    pub group: GroupName,
    /// Number of entries.
    pub count: u64,
    /// Bytes of the entries' events.
    pub bytes: u64,
    /// First failure of the entry that was kept first.
    pub oldest: OffsetDateTime,
}

impl Store {
    /// Dead letters of each group on each bus.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn dead_letter_counts(&self) -> Result<Vec<DeadLetterCount>, StoreError> {
        let rows = self.inner.engine.read(COUNTS, &[]).await?;
        let count = |row: &Row| {
            Ok(DeadLetterCount {
                bus: row.word("bus")?,
                group: row.word("group_name")?,
                count: row.count("entries")?,
                bytes: row.count("bytes")?,
                oldest: row.time("oldest")?,
            })
        };
        rows.iter().map(count).collect()
    }

    /// Limit of each group's dead letters.
    #[must_use]
    pub fn dead_letter_quota(&self) -> DeadLetterQuota {
        *self.inner.dead_letter_quota.lock()
    }

    /// Sets the limit of each group's dead letters for this process.
    pub fn limit_dead_letters(&self, quota: DeadLetterQuota) {
        *self.inner.dead_letter_quota.lock() = quota;
    }
}
