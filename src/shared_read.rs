//! One read of the database for many callers that wait for the same change.

use crate::clock::Clock;
use std::time::Instant;
use tokio::sync::Mutex;

/// The last read of a value, shared by the callers of one process.
///
/// A caller says how old a read may be. Callers that come together share one read, so the number of
/// statements does not grow with the number of callers. A read whose caller goes away is begun
/// again by the next caller.
pub struct SharedRead<T> {
    clock: Clock,
    last: Mutex<Option<LastRead<T>>>,
}

struct LastRead<T> {
    began: Instant,
    value: T,
}

impl<T: Clone> SharedRead<T> {
    /// A value that was not read yet.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        Self { clock: clock.clone(), last: Mutex::new(None) }
    }

    /// The value, by a read that began at `since` or later.
    pub async fn since(&self, since: Instant, read: impl Future<Output = T>) -> T {
        let mut last = self.last.lock().await;
        if let Some(LastRead { began, value }) = &*last
            && *began >= since
        {
            return value.clone();
        }
        let began = self.clock.monotonic();
        let value = read.await;
        *last = Some(LastRead { began, value: value.clone() });
        value
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

    #[tokio::test]
    async fn callers_that_wait_together_share_one_read() {
        let (clock, hand) = Clock::turnable();
        let (shared, reads) = (SharedRead::new(&clock), AtomicU32::new(0));
        let read = async || {
            tokio::task::yield_now().await;
            reads.fetch_add(1, Ordering::Relaxed) + 1
        };
        let since = clock.monotonic();
        let values = join_all((0..100).map(|_| shared.since(since, read()))).await;
        assert_eq!(values, [1; 100]);
        hand.forward(Duration::from_secs(1));
        assert_eq!(shared.since(since, read()).await, 1, "the last read is young enough");
        assert_eq!(shared.since(clock.monotonic(), read()).await, 2);
    }

    #[tokio::test]
    async fn a_read_that_was_given_up_is_begun_again() {
        let clock = Clock::system();
        let shared = SharedRead::new(&clock);
        let never = shared.since(clock.monotonic(), std::future::pending::<u8>());
        assert!(tokio::time::timeout(Duration::from_millis(1), never).await.is_err());
        assert_eq!(shared.since(clock.monotonic(), async { 7 }).await, 7);
    }
}
