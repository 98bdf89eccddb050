//! A result that is computed rarely and shared by all callers.

use crate::{background, clock::Clock};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// A result that is computed at most once in a time span, however many callers ask.
///
/// The computation runs in a task of its own. A caller that goes away does not end it, and so
/// cannot make the next caller start another one.
pub(super) struct SharedComputation<T> {
    compute: Box<dyn Fn() -> BoxFuture<'static, T> + Send + Sync>,
    max_age: Duration,
    clock: Clock,
    latest: Mutex<Option<Computation<T>>>,
}

struct Computation<T> {
    begun_at: Instant,
    result: watch::Receiver<Option<Arc<T>>>,
}

impl<T: Send + Sync + 'static> SharedComputation<T> {
    /// Result of `compute` that is at most `max_age` old, counted from the begin of the
    /// computation.
    pub(super) fn new(
        max_age: Duration,
        clock: Clock,
        compute: impl Fn() -> BoxFuture<'static, T> + Send + Sync + 'static,
    ) -> Self {
        Self { compute: Box::new(compute), max_age, clock, latest: Mutex::default() }
    }

    /// The current result; `None` when the computation panicked.
    pub(super) async fn get(&self) -> Option<Arc<T>> {
        let mut result = self.current();
        let found = result.wait_for(Option::is_some).await.ok()?;
        found.clone()
    }

    /// The computation that runs, or that is young enough, or a new one.
    fn current(&self) -> watch::Receiver<Option<Arc<T>>> {
        let mut latest = self.latest.lock();
        if let Some(computation) = &*latest {
            let young = self.clock.elapsed(computation.begun_at) < self.max_age;
            let running =
                computation.result.borrow().is_none() && computation.result.has_changed().is_ok();
            if young || running {
                return computation.result.clone();
            }
        }
        let (sender, result) = watch::channel(None);
        let computing = (self.compute)();
        background::spawn("computing health", async move {
            sender.send_replace(Some(Arc::new(computing.await)));
        });
        let begun_at = self.clock.monotonic();
        *latest = Some(Computation { begun_at, result: result.clone() });
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, future::join_all};
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

    const MAX_AGE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_hundred_callers_share_one_computation_until_it_is_too_old() {
        let (clock, hand) = Clock::turnable();
        let count = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&count);
        let shared = SharedComputation::new(MAX_AGE, clock, move || {
            let counting = Arc::clone(&counting);
            async move {
                tokio::task::yield_now().await;
                counting.fetch_add(1, SeqCst)
            }
            .boxed()
        });
        // A caller that goes away does not cost a second computation.
        drop(shared.get().now_or_never());
        let results = join_all((0..100).map(|_| shared.get())).await;
        assert!(results.iter().all(|result| result.as_deref() == Some(&0)), "{results:?}");
        assert_eq!(count.load(SeqCst), 1);
        hand.forward(MAX_AGE);
        assert_eq!(shared.get().await.as_deref(), Some(&1));
    }

    #[tokio::test]
    async fn a_computation_that_panics_gives_no_result_and_is_not_repeated_at_once() {
        let (clock, hand) = Clock::turnable();
        let shared =
            SharedComputation::<()>::new(MAX_AGE, clock, || async { panic!("on purpose") }.boxed());
        assert_eq!(shared.get().await, None);
        assert_eq!(shared.get().await, None);
        hand.forward(MAX_AGE);
        assert_eq!(shared.get().await, None);
    }
}
