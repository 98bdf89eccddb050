//! Dispatches that wait for synchronous listeners.
//!
//! A dispatch waits until the consumer has executed the event once, with any outcome. A listener
//! that dispatches while it runs gives its place away while it waits. So the event that it waits
//! for can run, even when that event comes back to the same listener.

use crate::store::embedded::{DeliveryId, Embedded};
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
    /// The places of the consumer whose execution runs in this task.
    pub(super) static PLACES: LentPlaces;
}

/// The places of one consumer that its executions have given away for a while.
#[derive(Clone)]
pub(super) struct LentPlaces {
    lent: Arc<AtomicUsize>,
    /// Makes the consumer read its queue again.
    bell: watch::Sender<()>,
}

/// A place that is given away until this guard is dropped.
struct LentPlace(LentPlaces);

impl LentPlaces {
    pub(super) fn new(bell: watch::Sender<()>) -> Self {
        Self { lent: Arc::default(), bell }
    }

    /// Number of places that are given away.
    pub(super) fn count(&self) -> usize {
        self.lent.load(Ordering::Relaxed)
    }

    fn lend(self) -> LentPlace {
        self.lent.fetch_add(1, Ordering::Relaxed);
        self.bell.send_replace(());
        LentPlace(self)
    }
}

impl Drop for LentPlace {
    fn drop(&mut self) {
        self.0.lent.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The queues with a synchronous consumer, and the dispatches that wait for their deliveries.
/// Clones share one register.
#[derive(Clone, Default)]
pub(super) struct Waiting(Arc<Mutex<HashMap<String, AwaitedQueue>>>);

struct AwaitedQueue {
    consumers: usize,
    /// Longest execution of the listener.
    limit: Duration,
    deliveries: HashMap<i64, oneshot::Sender<()>>,
}

/// The wait of a dispatch for one delivery.
struct AwaitedDelivery<'d> {
    delivery: &'d DeliveryId,
    executed: oneshot::Receiver<()>,
    limit: Duration,
}

/// Guard of a synchronous consumer, which counts until the guard is dropped.
pub(super) struct SyncConsumer {
    waiting: Waiting,
    queue: String,
}

impl Waiting {
    fn queues(&self) -> MutexGuard<'_, HashMap<String, AwaitedQueue>> {
        self.0.lock()
    }

    /// Registers a synchronous consumer of a queue, whose executions take at most `limit`.
    pub(super) fn attend(&self, queue: &str, limit: Duration) -> SyncConsumer {
        let mut queues = self.queues();
        let unattended = || AwaitedQueue { consumers: 0, limit, deliveries: HashMap::new() };
        let awaited = queues.entry(queue.to_owned()).or_insert_with(unattended);
        awaited.consumers += 1;
        awaited.limit = limit;
        SyncConsumer { waiting: self.clone(), queue: queue.to_owned() }
    }

    /// Tells the dispatch that waits for a delivery that the delivery was executed.
    pub(super) fn executed(&self, queue: &str, seq: i64) {
        if let Some(awaited) = self.queues().get_mut(queue)
            && let Some(waits) = awaited.deliveries.remove(&seq)
        {
            // Fails when the dispatch no longer waits.
            let _ = waits.send(());
        }
    }

    /// Waits until new deliveries have been executed. Only deliveries to queues with a synchronous
    /// consumer count, each for at most the longest execution of its listener.
    pub(super) async fn wait_for(&self, store: &Embedded, deliveries: &[DeliveryId]) {
        let awaited: Vec<_> =
            deliveries.iter().filter_map(|delivery| self.begin(delivery)).collect();
        if awaited.is_empty() {
            return;
        }
        let _lent = PLACES.try_with(Clone::clone).map(LentPlaces::lend);
        let waits =
            awaited.into_iter().map(async |AwaitedDelivery { delivery, executed, limit }| {
                // The delivery may have been executed before the wait for it began. A store that
                // cannot be read does not show that, so the dispatch waits then.
                if store.is_pending(delivery.seq, 0).await.unwrap_or(true) {
                    // Ends early when the consumer ends.
                    let _ = timeout(limit, executed).await;
                }
                self.executed(&delivery.queue, delivery.seq);
            });
        futures_util::future::join_all(waits).await;
    }

    fn begin<'d>(&self, delivery: &'d DeliveryId) -> Option<AwaitedDelivery<'d>> {
        let mut queues = self.queues();
        let awaited = queues.get_mut(&delivery.queue)?;
        let (sender, executed) = oneshot::channel();
        awaited.deliveries.insert(delivery.seq, sender);
        Some(AwaitedDelivery { delivery, executed, limit: awaited.limit })
    }
}

impl Drop for SyncConsumer {
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
