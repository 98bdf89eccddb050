//! Removal of many dead letters, in steps that each touch few entries.

use super::{DeadLetterFilter, filtered};
use crate::store::{
    Store,
    engine::{Arg, args, statements},
    error::StoreError,
    retention::BATCH,
};

statements! {
    /// Place of the last entry of a step.
    STEP = "SELECT MAX(seq) AS last FROM (SELECT seq FROM dead_letter WHERE seq > $1 AND seq <= $2 ORDER BY seq LIMIT $3) AS step";
    /// The places bound the step, for any filter.
    PURGE = filtered!("DELETE FROM dead_letter", " AND seq > $7 AND seq <= $8");
}

/// Places that a purge has not examined yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeWindow {
    /// Place after which the next step begins.
    pub after: i64,
    /// Last place. Entries that are kept while the purge runs have higher places.
    pub last: i64,
}

/// Result of one step of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PurgeStep {
    /// Number of entries that the step removed.
    pub removed: u64,
    /// Places that are left; `None` after the last step.
    pub rest: Option<PurgeWindow>,
}

impl Store {
    /// Removes the entries that a filter lets through among the next 1,000 entries of a window. A
    /// step is short at any number of entries, and a step that is repeated does no harm.
    ///
    /// # Errors
    /// When the database cannot be used. It is not known whether the entries are removed.
    pub async fn purge_dead_letters(
        &self,
        filter: &DeadLetterFilter,
        window: PurgeWindow,
    ) -> Result<PurgeStep, StoreError> {
        let PurgeWindow { after, last } = window;
        let rows = self.inner.engine.read(STEP, args![after, last, BATCH]).await?;
        let end = rows.first().map(|row| row.opt_int("last")).transpose()?.flatten();
        let Some(end) = end else { return Ok(PurgeStep { removed: 0, rest: None }) };
        let mut values = filter.values();
        values.extend([Arg::from(after), Arg::from(end)]);
        let removed = self.inner.engine.write(PURGE, &values).await?;
        Ok(PurgeStep { removed, rest: Some(PurgeWindow { after: end, last }) })
    }
}
