//! Tables of the embedded broker and bus, in the embedded store's own file.
//!
//! Only the embedded store has these tables, so [`Store::embedded`] is the only way to an
//! [`Embedded`]. Each change is one transaction, and so one fsync.

mod deliveries;
mod occupancy;
mod topology;

pub use deliveries::{DeliveryId, LocalDelivery};
pub use occupancy::{Attendance, Claim, Occupancy, QueueUse};

use super::{
    Inner, Store,
    engine::{Arg, Engine, Sql, Tx},
    error::StoreError,
    failure::DriverFailure,
};
use std::sync::Arc;

/// The embedded broker's topology and the embedded bus's deliveries. Cheap to clone; shares the
/// connections of its [`Store`].
#[derive(Clone)]
pub struct Embedded {
    inner: Arc<Inner>,
}

impl Store {
    /// The tables of the embedded broker and bus; `None` on PostgreSQL, which does not have them.
    #[must_use]
    pub fn embedded(&self) -> Option<Embedded> {
        match self.inner.engine {
            Engine::Postgres(_) => None,
            Engine::Sqlite { .. } => Some(Embedded { inner: Arc::clone(&self.inner) }),
        }
    }
}

/// Reason why a call to the embedded broker failed. A repeated call can succeed only after
/// [`LocalError::Store`].
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The exchange does not exist.
    #[error("there is no exchange {0:?}")]
    NoExchange(String),
    /// The queue does not exist.
    #[error("there is no queue {0:?}")]
    NoQueue(String),
    /// The object exists with another definition. A declaration never changes an existing object.
    #[error("{kind} {name:?} exists with other properties or arguments")]
    Differs {
        /// `exchange` or `queue`.
        kind: &'static str,
        /// Name of the object.
        name: String,
    },
    /// The embedded broker cannot do this.
    #[error("the embedded broker {0}")]
    Unsupported(&'static str),
    /// The store failed. When the store is unavailable, the outcome is unknown.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<DriverFailure> for LocalError {
    fn from(failure: DriverFailure) -> Self {
        Self::Store(failure.into())
    }
}

pub(super) fn statements() -> Vec<(&'static str, Sql)> {
    [topology::STATEMENTS, deliveries::STATEMENTS].concat()
}

impl Embedded {
    /// Asks the database whether it answers.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.inner.engine.ping().await?)
    }

    async fn begin(&self) -> Result<Tx, DriverFailure> {
        self.inner.engine.begin(&self.inner.bell).await
    }

    /// Reads the only row of a statement and returns the number in `column`; `None` without a row.
    async fn number(
        &self,
        sql: Sql,
        args: &[Arg],
        column: &str,
    ) -> Result<Option<u64>, StoreError> {
        let rows = self.inner.engine.read(sql, args).await?;
        rows.first().map(|row| row.count(column)).transpose()
    }
}
