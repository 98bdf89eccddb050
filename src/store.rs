//! The memory of a cluster: the roster's history, and the records that its nodes share.
//!
//! There are two databases: PostgreSQL for a cluster, and SQLite for a single node. All code above
//! the `engine` is written once for both. [`Store`] is cheap to clone. Every call has a deadline.
//! Dropping the future of a call at any time leaves the store usable: the call then took effect
//! either completely or not at all.
//!
//! Times are by the database's clock. They inform people and order nothing.

mod adoption;
mod codec;
pub mod dead_letters;
mod dispatch_failures;
mod doorbell;
mod doubt;
pub mod embedded;
mod engine;
mod error;
mod examine;
mod failure;
mod founding;
mod history;
mod lease;
mod log;
mod migrations;
pub mod nodes;
mod open;
mod postgres;
pub mod retention;
mod row;
mod schema_fence;
mod snapshot;
mod sqlite;
pub mod tasks;
mod topology;

pub use dispatch_failures::DispatchFailure;
pub use error::{OpenError, StoreError};
pub use examine::Examined;
pub use history::HistoryFilter;
pub use lease::{Lease, LeaseName};
pub use log::{AppendError, RecordedCommand};
pub use migrations::{OutdatedNodes, Schema};
pub use snapshot::{LastPass, TopologySnapshot};

use crate::{domain::retention::DeadLetterQuota, metrics::DatabaseConnections};
use engine::Engine;
use parking_lot::Mutex;
use std::{fs::File, sync::Arc};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle},
};
use uuid::Uuid;

/// The memory of a cluster. Cheap to clone; all clones share their connections.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    engine: Engine,
    cluster_id: Uuid,
    log_id: Uuid,
    bell: watch::Sender<u64>,
    listening: Option<Listening>,
    /// Lock of the embedded store on its directory.
    directory: Mutex<Option<File>>,
    /// Limit of each group's dead letters.
    dead_letter_quota: Mutex<DeadLetterQuota>,
}

/// The task that listens for the doorbell of other processes. It ends with its store.
struct Listening(AbortHandle);

impl Drop for Listening {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl From<JoinHandle<()>> for Listening {
    fn from(task: JoinHandle<()>) -> Self {
        Self(task.abort_handle())
    }
}

impl Store {
    /// Identity of the cluster, created with its database. Objects on RabbitMQ carry it as their
    /// marker.
    #[must_use]
    pub fn cluster_id(&self) -> Uuid {
        self.inner.cluster_id
    }

    /// Identity of this history of the roster. A cursor with another identity comes from another
    /// history, even when its version exists in this history.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.inner.log_id
    }

    /// Name of the database: `PostgreSQL` or `SQLite`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.inner.engine {
            Engine::Postgres(_) => "PostgreSQL",
            Engine::Sqlite { .. } => "SQLite",
        }
    }

    /// Asks the database whether it answers, without a statement.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        Ok(self.inner.engine.ping().await?)
    }

    /// Makes sure that the schema lets this program write, as the last heartbeat found.
    ///
    /// # Errors
    /// [`StoreError::SchemaTooNew`].
    pub fn check_writable(&self) -> Result<(), StoreError> {
        Ok(self.inner.engine.check_writable()?)
    }

    /// Use of the connections to the database.
    #[must_use]
    pub fn connections(&self) -> DatabaseConnections {
        self.inner.engine.connections()
    }

    /// Closes the connections and, for the embedded store, releases the directory. From now on,
    /// calls on all clones fail.
    pub async fn close(&self) {
        if let Some(listening) = &self.inner.listening {
            listening.0.abort();
        }
        self.inner.engine.close().await;
        self.inner.directory.lock().take();
    }

    /// Prepares every statement that this program may send, which shows that the schema fits.
    /// Returns the number of statements.
    ///
    /// # Errors
    /// The database's error, with the name of the first statement that the database refuses.
    pub async fn check_statements(&self) -> Result<usize, StoreError> {
        let mut all = [
            log::STATEMENTS,
            history::STATEMENTS,
            nodes::STATEMENTS,
            tasks::STATEMENTS,
            dead_letters::statements().as_slice(),
            retention::STATEMENTS,
            dispatch_failures::STATEMENTS,
            topology::STATEMENTS,
            founding::STATEMENTS,
            lease::STATEMENTS,
            snapshot::STATEMENTS,
            adoption::STATEMENTS,
        ]
        .concat();
        match self.inner.engine {
            Engine::Postgres(_) => all.extend(engine::STATEMENTS),
            Engine::Sqlite { .. } => all.extend(embedded::statements()),
        }
        for (name, sql) in &all {
            self.inner.engine.prepare(name, *sql).await?;
        }
        Ok(all.len())
    }

    /// The doorbell: its value changes after any process recorded an event of the roster or saved
    /// the status of the topology.
    ///
    /// A ring carries no data, and may come without a change. Rings are missed while the connection
    /// is lost; the doorbell rings when it is back. So a ring hastens a poll and never replaces it.
    #[must_use]
    pub fn doorbell(&self) -> watch::Receiver<u64> {
        self.inner.bell.subscribe()
    }

    /// Rings the doorbell of this process alone, for a caller that learned of a change in another
    /// way.
    pub fn ring_here(&self) {
        self.inner.bell.send_modify(|rings| *rings = rings.wrapping_add(1));
    }
}
