//! Doubt whether the sessions of a pool may still write.

use crate::clock::Clock;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Time for which each session is checked before it is used, after one session could not write.
/// Longer than a statement may take, so that no session of the old server escapes the check.
const LENGTH: Duration = Duration::from_secs(30);

/// SQLSTATE of a write on a session that may only read (`read_only_sql_transaction`).
const READ_ONLY: &str = "25006";

/// Doubt about the sessions of one pool. Raised when a session could not write: its server may be a
/// standby since a failover, and other sessions may lead to the same server. Clones share the
/// doubt.
#[derive(Clone, Default)]
pub(super) struct Doubt {
    clock: Clock,
    raised: Arc<Mutex<Option<Instant>>>,
}

impl Doubt {
    /// Takes note of a failed statement.
    pub(super) fn note(&self, error: &sqlx::Error) {
        if let sqlx::Error::Database(refusal) = error
            && refusal.code().as_deref() == Some(READ_ONLY)
        {
            self.raise();
        }
    }

    /// Whether sessions must show that they may write before they are used.
    pub(super) fn stands(&self) -> bool {
        self.raised.lock().is_some_and(|raised| self.clock.elapsed(raised) < LENGTH)
    }

    fn raise(&self) {
        *self.raised.lock() = Some(self.clock.monotonic());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_stands_for_a_time_and_for_every_clone() {
        let (clock, hand) = Clock::turnable();
        let doubt = Doubt { clock, ..Doubt::default() };
        doubt.note(&sqlx::Error::PoolTimedOut);
        assert!(!doubt.stands());
        doubt.raise();
        assert!(doubt.clone().stands());
        hand.forward(LENGTH);
        assert!(!doubt.stands());
    }
}
