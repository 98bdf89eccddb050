//! Dispatching that waits for synchronous listeners.
//!
//! A dispatch waits until the consumer has executed the event once, whatever comes of it. A
//! listener that dispatches while it runs gives its place away as long as that waits, so that the
//! event it waits for can run, also when it comes back to the same listener.

use crate::store::embedded::Embedded;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{oneshot, watch},
    time::timeout,
};

tokio::task_local! {
    /// The place that the running execution takes.
    pub(super) static PLACE: Places;
}

/// How many places of a consumer are given away for a while.
#[derive(Clone)]
pub(super) struct Places {
    lent: Arc<AtomicUsize>,
    /// Makes the consumer look again.
    bell: watch::Sender<()>,
}

/// A place that is given away until this is dropped.
struct Lent(Places);

impl Places {
    pub(super) fn new(bell: watch::Sender<()>) -> Self {
        Self { lent: Arc::default(), bell }
    }

    /// How many are given away.
    pub(super) fn lent(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }

    fn lend(self) -> Lent {
        self.lent.fetch_add(1, Ordering::Relaxed);
        self.bell.send_replace(());
        Lent(self)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        self.0.lent.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The queues with a synchronous consumer, and who waits for what in them. Clones share one.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<String, Awaited>>>);

struct Awaited {
    consumers: usize,
    limit: Duration,
    deliveries: HashMap<i64, oneshot::Sender<()>>,
}

/// A synchronous consumer, as long as it is held.
pub(super) struct Attending {
    waiting: Waiting,
    queue: String,
}

impl Waiting {
    fn queues(&self) -> MutexGuard<'_, HashMap<String, Awaited>> {
        self.0.lock()
    }

    /// Says that a queue is consumed by a synchronous listener, which takes `limit` at most.
    pub(super) fn attend(&self, queue: &str, limit: Duration) -> Attending {
        let mut queues = self.queues();
        let none = || Awaited { consumers: 0, limit, deliveries: HashMap::new() };
        let awaited = queues.entry(queue.to_owned()).or_insert_with(none);
        awaited.consumers += 1;
        awaited.limit = limit;
        Attending { waiting: self.clone(), queue: queue.to_owned() }
    }

    /// Says that a delivery was executed.
    pub(super) fn executed(&self, queue: &str, seq: i64) {
        if let Some(awaited) = self.queues().get_mut(queue)
            && let Some(waits) = awaited.deliveries.remove(&seq)
        {
            // Fails when nobody waits any more.
            let _ = waits.send(());
        }
    }

    /// Waits until new deliveries have been executed, those of queues with a synchronous consumer,
    /// each at most as long as its listener may take.
    pub(super) async fn all<'d>(&self, store: &Embedded, deliveries: &'d [(String, i64)]) {
        let begun = |(queue, seq): &'d (String, i64)| {
            let (executed, limit) = self.begin(queue, *seq)?;
            Some((queue.as_str(), *seq, executed, limit))
        };
        let waits: Vec<_> = deliveries.iter().filter_map(begun).collect();
        if waits.is_empty() {
            return;
        }
        let _lent = PLACE.try_with(Clone::clone).map(Places::lend);
        let each = waits.into_iter().map(async |(queue, seq, executed, limit)| {
            // It may have been executed before anybody began to wait for it. An error says
            // nothing, so it is waited for.
            if store.is_pending(seq, 0).await.unwrap_or(true) {
                // Ends early when the consumer does.
                let _ = timeout(limit, executed).await;
            }
            self.executed(queue, seq);
        });
        futures_util::future::join_all(each).await;
    }

    fn begin(&self, queue: &str, seq: i64) -> Option<(oneshot::Receiver<()>, Duration)> {
        let mut queues = self.queues();
        let awaited = queues.get_mut(queue)?;
        let (sender, executed) = oneshot::channel();
        awaited.deliveries.insert(seq, sender);
        Some((executed, awaited.limit))
    }
}

impl Drop for Attending {
    fn drop(&mut self) {
        let mut queues = self.waiting.queues();
        if let Some(awaited) = queues.get_mut(&self.queue) {
            awaited.consumers -= 1;
            if awaited.consumers == 0 {
                queues.remove(&self.queue);
            }
        }
    }
}
