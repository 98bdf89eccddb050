//! Opening a store.

use super::{
    Inner, Store, doorbell,
    engine::Engine,
    error::OpenError,
    migrations::{self, IDENTITY, When},
    postgres::{Sessions, failed},
    sqlite,
};
use parking_lot::Mutex;
use sqlx::{Connection as _, Row as _};
use std::{path::Path, sync::Arc};
use tokio::sync::watch;
use uuid::Uuid;

impl Store {
    /// Opens a cluster's database. An empty one gets its schema; one whose schema is old is left
    /// alone, since other nodes may work on it.
    ///
    /// # Errors
    /// [`OpenError`] says what to check: the URL, the host, the credentials, the database, the
    /// server's or the schema's version. It never holds the password.
    pub async fn postgres(url: &str) -> Result<Self, OpenError> {
        crate::tls::init();
        let sessions = Sessions::parse(url)?;
        let mut first = sessions.first().await?;
        for name in migrations::postgres(&mut first, When::Empty).await? {
            tracing::info!(migration = name, "the database was empty; applied migration {name}");
        }
        let identity = sqlx::query(IDENTITY).fetch_one(&mut first).await.map_err(failed)?;
        let identity = (identity.get("cluster_id"), identity.get("log_id"));
        // A courtesy to the server's log; the session ends either way.
        let _ = first.close().await;
        let bell = watch::Sender::new(0);
        let listening = doorbell::listen(sessions.clone(), bell.clone());
        let engine = Engine::Postgres(sessions.pool());
        Ok(Self::new(Inner {
            listening: Some(listening.into()),
            sessions: Some(sessions),
            ..Inner::of(engine, identity, bell)
        }))
    }

    /// Brings a cluster's database up to date. Returns the names of the migrations applied.
    ///
    /// # Errors
    /// As [`Store::postgres`].
    pub async fn migrate_postgres(url: &str) -> Result<Vec<String>, OpenError> {
        crate::tls::init();
        let mut session = Sessions::parse(url)?.first().await?;
        let applied = migrations::postgres(&mut session, When::Asked).await?;
        let _ = session.close().await;
        Ok(applied)
    }

    /// Opens the embedded store in a data directory, which it makes where there is none, and
    /// brings it up to date. The directory is this store's until it is closed.
    ///
    /// # Errors
    /// [`OpenError`] names the directory or file, and the process that has it.
    pub async fn sqlite(data_dir: &Path) -> Result<Self, OpenError> {
        let directory = sqlite::lock(data_dir)?;
        let (writer, readers) = sqlite::open(data_dir).await?;
        let identity = sqlx::query(IDENTITY).fetch_one(&readers).await.map_err(failed)?;
        let identity = (identity.get("cluster_id"), identity.get("log_id"));
        let engine = Engine::Sqlite { writer, readers };
        Ok(Self::new(Inner {
            directory: Mutex::new(Some(directory)),
            ..Inner::of(engine, identity, watch::Sender::new(0))
        }))
    }

    fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

impl Inner {
    fn of(engine: Engine, (cluster_id, log_id): (Uuid, Uuid), bell: watch::Sender<u64>) -> Self {
        Self {
            engine,
            cluster_id,
            log_id,
            bell,
            listening: None,
            locks: super::lock::Locks::default(),
            directory: Mutex::new(None),
            sessions: None,
        }
    }
}
