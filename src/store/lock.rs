//! One at a time in the cluster.

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
    /// Held by the session, so it goes with it.
    TRY = "SELECT pg_try_advisory_lock($1) AS taken";
    UNLOCK = "SELECT pg_advisory_unlock($1)";
}

/// What one node at a time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Making the broker match the roster.
    Passes,
    /// Publishing again what could not be published.
    Redispatch,
    /// Putting dead letters back because somebody asked for it.
    Redelivery,
}

/// How often a lock is tried for that somebody else has.
const TRY_AGAIN: Duration = Duration::from_secs(1);

impl Lock {
    /// Its number among the database's advisory locks.
    fn key(self) -> i64 {
        match self {
            Self::Passes => i64::from_be_bytes(*b"\0\0passes"),
            Self::Redispatch => i64::from_be_bytes(*b"\0\0redisp"),
            Self::Redelivery => i64::from_be_bytes(*b"\0\0redelv"),
        }
    }
}

/// The locks of an embedded store, which one process has to itself.
#[derive(Default)]
pub(super) struct Locks {
    passes: Arc<Mutex<()>>,
    redispatch: Arc<Mutex<()>>,
    redelivery: Arc<Mutex<()>>,
}

/// A lock that is held. Dropped, or with its process, it is given back.
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
    /// Takes a lock, or says that somebody has it.
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
            };
            let guard = Arc::clone(mutex).try_lock_owned();
            return Ok(guard.ok().map(|guard| HeldLock(Held::Sqlite(guard))));
        };
        let attempt = async {
            let mut session = sessions.one().await?;
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

    /// Takes a lock, after whoever has it, however long that takes.
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
    /// Whether the lock is still held, by a round trip to whoever holds it. To be asked before
    /// anything that two nodes must not do both.
    pub async fn still_held(&mut self) -> bool {
        match &mut self.0 {
            Held::Sqlite(_) => true,
            Held::Postgres { session, .. } => {
                matches!(timeout(PATIENCE / 3, session.ping()).await, Ok(Ok(())))
            }
        }
    }

    /// Gives the lock back, and returns when another can take it. Dropping does the same, a
    /// little later.
    pub async fn release(self) {
        if let Held::Postgres { mut session, lock } = self.0 {
            // Where this fails, the server frees the lock when it sees the session's end.
            let _ = timeout(PATIENCE / 3, async {
                sqlx::query(UNLOCK.0).bind(lock.key()).execute(&mut *session).await?;
                session.close().await
            })
            .await;
        }
    }
}
