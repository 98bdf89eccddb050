//! One pass at a time in the cluster.

use super::{
    Store,
    engine::{PATIENCE, statements},
    error::StoreError,
    failure::Failure,
};
use sqlx::{Connection as _, PgConnection, Row as _};
use tokio::{sync::OwnedMutexGuard, time::timeout};

statements! {
    /// Held by the session, so it goes with it: "passes" in ASCII.
    TRY = "SELECT pg_try_advisory_lock(123589965702515) AS taken";
    UNLOCK = "SELECT pg_advisory_unlock(123589965702515)";
}

/// The right to make a pass. Dropped, or with its process, it is given back.
pub struct PassLock(Held);

enum Held {
    /// The session holds it.
    Postgres(Box<PgConnection>),
    Sqlite(#[expect(dead_code, reason = "holding it is its use")] OwnedMutexGuard<()>),
}

impl Store {
    /// Takes the lock on passes, or says that somebody has it.
    ///
    /// # Errors
    /// When the database cannot be asked.
    pub async fn try_pass_lock(&self) -> Result<Option<PassLock>, StoreError> {
        let Some(sessions) = &self.inner.sessions else {
            let guard = self.inner.passes.clone().try_lock_owned();
            return Ok(guard.ok().map(|guard| PassLock(Held::Sqlite(guard))));
        };
        let attempt = async {
            let mut session = sessions.one().await?;
            let row = sqlx::query(TRY.0).fetch_one(&mut session).await?;
            if row.try_get("taken")? {
                return Ok(Some(PassLock(Held::Postgres(Box::new(session)))));
            }
            session.close().await?;
            Ok(None)
        };
        match timeout(PATIENCE, attempt).await {
            Ok(result) => result.map_err(|error: sqlx::Error| Failure::from(error).into()),
            Err(_) => Err(Failure::timeout(PATIENCE).into()),
        }
    }
}

impl PassLock {
    /// Whether the lock is still held, by a round trip to whoever holds it. To be asked before
    /// anything that two passes must not do both.
    pub async fn still_held(&mut self) -> bool {
        match &mut self.0 {
            Held::Sqlite(_) => true,
            Held::Postgres(session) => {
                matches!(timeout(PATIENCE / 3, session.ping()).await, Ok(Ok(())))
            }
        }
    }

    /// Gives the lock back, and returns when another can take it. Dropping does the same, a
    /// little later.
    pub async fn release(self) {
        if let Held::Postgres(mut session) = self.0 {
            // Where this fails, the server frees the lock when it sees the session's end.
            let _ = timeout(PATIENCE / 3, async {
                sqlx::query(UNLOCK.0).execute(&mut *session).await?;
                session.close().await
            })
            .await;
        }
    }
}
