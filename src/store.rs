//! What a cluster remembers: the roster's history, and what its nodes share.
//!
//! Two databases serve, PostgreSQL for a cluster and SQLite for a single node, and everything
//! above the `engine` is written once for both. [`Store`] is cheap to clone. Every call has a
//! deadline, and dropping its future at any time leaves the store usable: either all of it took
//! effect or none.
//!
//! Times are the database's own. They inform people; nothing is ordered by them.

mod buses;
mod codec;
pub mod dead_letters;
mod dispatch_failures;
mod doorbell;
pub mod embedded;
mod engine;
mod error;
mod examine;
mod failure;
mod lock;
mod log;
mod migrations;
pub mod nodes;
mod open;
mod postgres;
mod row;
mod sqlite;
pub mod tasks;
mod topology;

pub use dispatch_failures::DispatchFailure;
pub use error::{OpenError, StoreError};
pub use examine::{Examined, Schema};
pub use lock::{HeldLock, Lock};
pub use log::{AppendError, RecordedCommand};

use engine::{Engine, statements};
use parking_lot::Mutex;
use std::{fs::File, sync::Arc};
use tokio::{
    sync::watch,
    task::{AbortHandle, JoinHandle},
};
use uuid::Uuid;

/// A cluster's memory. Cheap to clone; all clones share their connections.
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
    locks: lock::Locks,
    /// The embedded store's lock on its directory, and what opens a PostgreSQL session besides
    /// the pool's.
    directory: Mutex<Option<File>>,
    sessions: Option<postgres::Sessions>,
}

/// The task that hears other processes' doorbells. It ends with its store.
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

statements! {
    PING = "SELECT 1";
}

impl Inner {
    async fn ping(&self) -> Result<(), StoreError> {
        self.engine.read(PING, &[]).await?;
        Ok(())
    }
}

impl Store {
    /// The cluster's identity, made with its database. RabbitMQ objects carry it as their marker.
    #[must_use]
    pub fn cluster_id(&self) -> Uuid {
        self.inner.cluster_id
    }

    /// The identity of this history of the roster. A cursor that names another one comes from
    /// another history, whatever its version says.
    #[must_use]
    pub fn log_id(&self) -> Uuid {
        self.inner.log_id
    }

    /// Which database serves: `PostgreSQL` or `SQLite`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self.inner.engine {
            Engine::Postgres(_) => "PostgreSQL",
            Engine::Sqlite { .. } => "SQLite",
        }
    }

    /// Asks the database whether it is there.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }

    /// Lets go of the database and, when embedded, of the directory. Calls on any clone fail from
    /// here on.
    pub async fn close(&self) {
        if let Some(listening) = &self.inner.listening {
            listening.0.abort();
        }
        self.inner.engine.close().await;
        self.inner.directory.lock().take();
    }

    /// Prepares every statement that this program may send, and so shows that the schema fits.
    ///
    /// # Errors
    /// The database's words, with the name of the first statement it does not understand.
    pub async fn check_statements(&self) -> Result<usize, StoreError> {
        let mut all = [
            STATEMENTS,
            log::STATEMENTS,
            buses::STATEMENTS,
            nodes::STATEMENTS,
            tasks::STATEMENTS,
            dead_letters::STATEMENTS,
            dispatch_failures::STATEMENTS,
            topology::STATEMENTS,
        ]
        .concat();
        match self.inner.engine {
            Engine::Postgres(_) => {
                all.extend(engine::STATEMENTS);
                all.extend(lock::STATEMENTS);
            }
            Engine::Sqlite { .. } => all.extend(embedded::statements()),
        }
        for (name, sql) in &all {
            self.inner.engine.prepare(name, *sql).await?;
        }
        Ok(all.len())
    }

    /// The doorbell: its value changes after the roster grew or the topology's status was saved,
    /// by whichever process. It carries no data, may ring for nothing, and may be missed while a
    /// connection is lost, after which it rings; so it hurries a poll and never replaces one.
    #[must_use]
    pub fn doorbell(&self) -> watch::Receiver<u64> {
        self.inner.bell.subscribe()
    }
}
