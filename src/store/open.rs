//! Opening a store.

use super::{
    Inner, Store, doorbell,
    engine::Engine,
    error::OpenError,
    lease,
    migrations::{self, IDENTITY, MigrationScope, OutdatedNodes},
    postgres::{DEFAULT_CONNECTIONS, DatabaseServer, Sessions, failed},
    sqlite::{self, SqlitePools},
};
use parking_lot::Mutex;
use sqlx::{Connection as _, Row as _};
use std::{path::Path, sync::Arc};
use tokio::sync::watch;
use uuid::Uuid;

impl Store {
    /// Opens a cluster's database. An empty database gets its schema. A database with an old schema
    /// is not changed, because other nodes may use it.
    ///
    /// # Errors
    /// [`OpenError`] says what to check: the URL, the host, the credentials, the database, or the
    /// version of the server or the schema. It never contains the password.
    pub async fn postgres(url: &str) -> Result<Self, OpenError> {
        Self::postgres_with(url, DEFAULT_CONNECTIONS).await
    }

    /// Opens a cluster's database as [`Store::postgres`], with at most this number of connections
    /// in all.
    ///
    /// # Errors
    /// As [`Store::postgres`].
    pub async fn postgres_with(url: &str, connections: u32) -> Result<Self, OpenError> {
        crate::tls::init();
        let sessions = Sessions::parse(url)?;
        let mut first = sessions.first().await?;
        for name in migrations::postgres(&mut first, MigrationScope::EmptyOnly).await? {
            tracing::info!(migration = name, "the database was empty; applied migration {name}");
        }
        let identity = sqlx::query(IDENTITY).fetch_one(&mut first).await.map_err(failed)?;
        let identity =
            Identity { cluster: identity.get("cluster_id"), log: identity.get("log_id") };
        // Closed properly for the sake of the server's log. The session ends in any case.
        let _ = first.close().await;
        let bell = watch::Sender::new(0);
        let listening = doorbell::listen(sessions.clone(), bell.clone());
        let engine = Engine::Postgres(Box::new(DatabaseServer::new(sessions, connections)));
        Ok(Self::new(Inner {
            listening: Some(listening.into()),
            ..Inner::new(engine, identity, bell)
        }))
    }

    /// Brings a cluster's database up to date. Returns the names of the migrations applied.
    ///
    /// # Errors
    /// As [`Store::postgres`], and [`OpenError::LiveNodes`].
    pub async fn migrate_postgres(
        url: &str,
        outdated: OutdatedNodes,
    ) -> Result<Vec<String>, OpenError> {
        crate::tls::init();
        let mut session = Sessions::parse(url)?.first().await?;
        let applied = migrations::postgres(&mut session, MigrationScope::Any(outdated)).await?;
        let _ = session.close().await;
        Ok(applied)
    }

    /// Opens the embedded store in a data directory and brings it up to date. Creates the directory
    /// if it does not exist. No other process can use the directory until the store is closed.
    ///
    /// # Errors
    /// [`OpenError`] names the directory or file, and the process that uses it.
    pub async fn sqlite(data_dir: &Path) -> Result<Self, OpenError> {
        let directory = sqlite::lock(data_dir)?;
        let SqlitePools { writer, readers } = sqlite::open(data_dir).await?;
        let identity = sqlx::query(IDENTITY).fetch_one(&readers).await.map_err(failed)?;
        let identity =
            Identity { cluster: identity.get("cluster_id"), log: identity.get("log_id") };
        let engine = Engine::Sqlite { writer, readers };
        lease::release_all(&engine).await?;
        Ok(Self::new(Inner {
            directory: Mutex::new(Some(directory)),
            ..Inner::new(engine, identity, watch::Sender::new(0))
        }))
    }

    fn new(inner: Inner) -> Self {
        Self { inner: Arc::new(inner) }
    }
}

/// Identity of a database.
#[derive(Clone, Copy)]
struct Identity {
    cluster: Uuid,
    log: Uuid,
}

impl Inner {
    fn new(engine: Engine, identity: Identity, bell: watch::Sender<u64>) -> Self {
        Self {
            engine,
            cluster_id: identity.cluster,
            log_id: identity.log,
            bell,
            listening: None,
            directory: Mutex::new(None),
            dead_letter_quota: Mutex::default(),
        }
    }
}
