//! Turns of callers that wait for each other, and share a failure.

use crate::{clock::Clock, error_chain::error_chain, store::StoreError};
use std::time::Instant;
use tokio::sync::{Mutex, MutexGuard};

/// Lets one caller at a time use the database.
///
/// While the database does not answer, each use takes seconds until it fails. A caller that waited
/// for its turn during a failed use gets that failure, and does not try by itself: so the callers
/// that wait together wait for one failure, however many they are.
pub(super) struct Turns {
    clock: Clock,
    last_failure: Mutex<Option<SharedFailure>>,
}

/// Failure of the last use, because the database did not answer.
struct SharedFailure {
    at: Instant,
    cause: String,
}

/// The turn of one caller.
pub(super) struct RosterTurn<'a> {
    clock: &'a Clock,
    last_failure: MutexGuard<'a, Option<SharedFailure>>,
}

impl Turns {
    pub(super) fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), last_failure: Mutex::new(None) }
    }

    /// Waits for the caller's turn.
    ///
    /// # Errors
    /// When the database did not answer another caller since this caller began to wait.
    pub(super) async fn wait(&self) -> Result<RosterTurn<'_>, StoreError> {
        let asked = self.clock.monotonic();
        let last_failure = self.last_failure.lock().await;
        match &*last_failure {
            Some(SharedFailure { at, cause }) if *at > asked => {
                Err(StoreError::Unavailable { source: cause.clone().into() })
            }
            _ => Ok(RosterTurn { clock: &self.clock, last_failure }),
        }
    }
}

impl RosterTurn<'_> {
    /// Ends the turn, with the result of the use.
    pub(super) fn end<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let Err(StoreError::Unavailable { source }) = &result {
            let cause = error_chain(&**source);
            *self.last_failure = Some(SharedFailure { at: self.clock.monotonic(), cause });
        }
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::future::join_all;
    use std::{
        sync::atomic::{AtomicU32, Ordering},
        time::Duration,
    };
    use tokio::time::sleep;

    /// Uses the database, which fails after a while.
    async fn fail(turns: &Turns, uses: &AtomicU32) -> Result<(), StoreError> {
        let turn = turns.wait().await?;
        uses.fetch_add(1, Ordering::Relaxed);
        sleep(Duration::from_millis(20)).await;
        turn.end(Err(StoreError::Unavailable { source: "silence".into() }))
    }

    #[tokio::test]
    async fn callers_that_wait_together_share_one_failure() {
        let (turns, uses) = (Turns::new(&Clock::system()), AtomicU32::new(0));
        let results = join_all((0..50).map(|_| fail(&turns, &uses))).await;
        for result in results {
            let error = result.unwrap_err();
            assert_eq!(error_chain(&error), "the database is out of reach: silence");
        }
        assert_eq!(uses.load(Ordering::Relaxed), 1);
        fail(&turns, &uses).await.unwrap_err();
        assert_eq!(uses.load(Ordering::Relaxed), 2, "a later caller tries by itself");
    }

    #[tokio::test]
    async fn an_error_that_is_no_outage_is_not_shared() {
        let turns = Turns::new(&Clock::system());
        let first = turns.wait().await.unwrap();
        let (second, _) = tokio::join!(turns.wait(), async {
            first.end(Err::<(), _>(StoreError::StaleRead)).unwrap_err()
        });
        assert!(second.is_ok());
    }
}
