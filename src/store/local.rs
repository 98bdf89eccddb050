//! The embedded broker and bus, kept in the embedded store's own file.
//!
//! Only a store that [`Store::sqlite`] opened has these tables; on PostgreSQL every call is
//! refused by the database. Each change is one transaction, so one fsync.

mod deliveries;
mod topology;

pub use deliveries::LocalDelivery;

use super::{Store, engine::Sql, error::StoreError, failure::Failure};

/// Why the embedded broker did not do what was asked. Except for the store's own, asking again
/// changes nothing.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// There is no such exchange.
    #[error("there is no exchange {0:?}")]
    NoExchange(String),
    /// There is no such queue.
    #[error("there is no queue {0:?}")]
    NoQueue(String),
    /// It exists otherwise, and a declaration never changes what exists.
    #[error("{kind} {name:?} exists with other properties or arguments")]
    Differs {
        /// `exchange` or `queue`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// The embedded broker cannot do this.
    #[error("the embedded broker {0}")]
    Unsupported(&'static str),
    /// The store failed. When it is unavailable, the outcome is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<Failure> for LocalError {
    fn from(failure: Failure) -> Self {
        Self::Store(failure.into())
    }
}

/// What an action on the embedded broker did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LocalApplied {
    /// How many deliveries went with a deleted queue.
    pub destroyed: u64,
}

pub(super) fn statements() -> Vec<(&'static str, Sql)> {
    [topology::STATEMENTS, deliveries::STATEMENTS].concat()
}

impl Store {
    /// The number that a statement returns in its only row, or nothing without a row.
    async fn local_number(
        &self,
        sql: Sql,
        args: &[super::engine::Arg],
        column: &str,
    ) -> Result<Option<u64>, StoreError> {
        let rows = self.inner.engine.read(sql, args).await?;
        rows.first().map(|row| row.count(column)).transpose()
    }
}
