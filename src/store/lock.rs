//! Locks of the cluster.

use super::{
    Store,
    engine::{PATIENCE, statements},
    error::StoreError,
    failure::DriverFailure,
};
use sqlx::{Connection as _, PgConnection, Row as _};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OwnedMutexGuard},
    time::{sleep, timeout},
};

statements! {
    /// The session holds the lock, so the lock ends with the session.
    TRY = "SELECT pg_try_advisory_lock($1) AS taken";
    UNLOCK = "SELECT pg_advisory_unlock($1)";
}

/// Work that only one node of the cluster may do at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Making the broker match the roster.
    Passes,
    /// Redispatch: publishing events that could not be published at first.
    Redispatch,
    /// Redelivering dead letters because an administrator asked for it.
    Redelivery,
    /// Removing old records.
    Sweep,
}

/// Pause between two attempts to take a lock that another node holds.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Lock {
    /// Number of the lock among the database's advisory locks.
    fn key(self) -> i64 {
        match self {
            Self::Passes => i64::from_be_bytes(*b"\0\0passes"),
            Self::Redispatch => i64::from_be_bytes(*b"\0\0redisp"),
            Self::Redelivery => i64::from_be_bytes(*b"\0\0redelv"),
            Self::Sweep => i64::from_be_bytes(*b"\0\0\0sweep"),
        }
    }
}

/// The locks of an embedded store, which no other process uses.
#[derive(Default)]
pub(super) struct Locks {
    passes: Arc<Mutex<()>>,
    redispatch: Arc<Mutex<()>>,
    redelivery: Arc<Mutex<()>>,
    sweep: Arc<Mutex<()>>,
}

/// Guard of a lock. The lock is released when the guard is dropped or the process ends.
pub struct HeldLock(Held);

enum Held {
    /// The session holds it.
    Postgres {
        session: Box<PgConnection>,
        lock: Lock,
    },
    Sqlite(#[expect(dead_code, reason = "holding it is its use")] OwnedMutexGuard<()>),
}

impl Store {
    /// Takes a lock. `None` when another node or task holds it.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn try_lock(&self, lock: Lock) -> Result<Option<HeldLock>, StoreError> {
        let Some(sessions) = &self.inner.sessions else {
            let locks = &self.inner.locks;
            let mutex = match lock {
                Lock::Passes => &locks.passes,
                Lock::Redispatch => &locks.redispatch,
                Lock::Redelivery => &locks.redelivery,
                Lock::Sweep => &locks.sweep,
            };
            let guard = Arc::clone(mutex).try_lock_owned();
            return Ok(guard.ok().map(|guard| HeldLock(Held::Sqlite(guard))));
        };
        let attempt = async {
            let mut session = sessions.open().await?;
            let row = sqlx::query(TRY.0).bind(lock.key()).fetch_one(&mut session).await?;
            if row.try_get("taken")? {
                let session = Box::new(session);
                return Ok(Some(HeldLock(Held::Postgres { session, lock })));
            }
            session.close().await?;
            Ok(None)
        };
        match timeout(PATIENCE, attempt).await {
            Ok(result) => result.map_err(|error: sqlx::Error| DriverFailure::from(error).into()),
            Err(_) => Err(DriverFailure::timeout(PATIENCE).into()),
        }
    }

    /// Takes a lock. Waits until the current holder releases it.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn lock(&self, lock: Lock) -> Result<HeldLock, StoreError> {
        loop {
            if let Some(held) = self.try_lock(lock).await? {
                return Ok(held);
            }
            sleep(TRY_AGAIN).await;
        }
    }
}

impl HeldLock {
    /// Whether the lock is still held, by a round trip to the database. Callers ask this before
    /// each action that two nodes must not do at the same time.
    pub async fn still_held(&mut self) -> bool {
        match &mut self.0 {
            Held::Sqlite(_) => true,
            Held::Postgres { session, .. } => {
                matches!(timeout(PATIENCE / 3, session.ping()).await, Ok(Ok(())))
            }
        }
    }

    /// Releases the lock, and returns when another holder can take it. Dropping the guard does the
    /// same a little later.
    pub async fn release(self) {
        if let Held::Postgres { mut session, lock } = self.0 {
            // When this fails, the server releases the lock once it notices the end of the session.
            let _ = timeout(PATIENCE / 3, async {
                sqlx::query(UNLOCK.0).bind(lock.key()).execute(&mut *session).await?;
                session.close().await
            })
            .await;
        }
    }
}
