//! The execution slots of one listener.

use crate::{
    bus::{Listener, rabbitmq::notifying::BusAudience, registry::RegisteredInline},
    domain::listener::ListenerSpec,
};
use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The executions of a listener, over every channel of its consumer: executions of a lost channel
/// go on while their events are delivered again.
pub(super) struct Executions {
    concurrency: u16,
    slots: Arc<Semaphore>,
    deliveries: TaskTracker,
    /// Takes no more events.
    stop: CancellationToken,
    /// Gives up running executions.
    abort: CancellationToken,
    patience: OnceLock<Duration>,
}

impl Executions {
    /// Slots for this many executions at a time, but for one at least.
    pub(super) fn new(concurrency: u16) -> Self {
        let concurrency = concurrency.max(1);
        Self {
            concurrency,
            slots: Arc::new(Semaphore::new(concurrency.into())),
            deliveries: TaskTracker::new(),
            stop: CancellationToken::new(),
            abort: CancellationToken::new(),
            patience: OnceLock::new(),
        }
    }

    /// Number of slots.
    pub(super) fn concurrency(&self) -> u16 {
        self.concurrency
    }

    /// Lets dispatches of this node run a listener inline, in the same slots, until the place is
    /// dropped.
    pub(super) fn enter(
        &self,
        audience: &BusAudience,
        spec: &ListenerSpec,
        listener: &Arc<dyn Listener>,
    ) -> RegisteredInline {
        let (slots, abort) = (Arc::clone(&self.slots), self.abort.clone());
        audience.enter(spec.clone(), Arc::clone(listener), slots, abort)
    }

    /// Starts the task of a delivery.
    pub(super) fn spawn(&self, delivery: impl Future<Output = ()> + Send + 'static) {
        self.deliveries.spawn(delivery);
    }

    /// Whether no delivery has a task.
    pub(super) fn is_idle(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// Waits for a slot. `None` when executions are given up first. A consumer that stops still
    /// runs the events that were delivered to it.
    pub(super) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.until_aborted(self.slots.acquire()).await?.ok()
    }

    /// Runs a future to its end. The future is dropped when executions are given up.
    pub(super) async fn until_aborted<T>(&self, running: impl Future<Output = T>) -> Option<T> {
        self.abort.run_until_cancelled(running).await
    }

    /// A token that is cancelled when executions are given up.
    pub(super) fn cancelled(&self) -> CancellationToken {
        self.abort.child_token()
    }

    /// A token that is cancelled when the consumer stops.
    pub(super) fn stop_token(&self) -> CancellationToken {
        self.stop.clone()
    }

    /// Takes no more events. Running executions may go on for as long as `patience`.
    pub(super) fn stop(&self, patience: Duration) {
        // A consumer is stopped once: stopping consumes its handle.
        let _ = self.patience.set(patience);
        self.stop.cancel();
    }

    /// Waits until the consumer stops.
    pub(super) async fn stopped(&self) {
        self.stop.cancelled().await;
    }

    /// Waits for running executions, for as long as patience lasts, and gives up the others. Their
    /// deliveries are not acknowledged, and RabbitMQ delivers the events again.
    pub(super) async fn finish(&self, group: &str) {
        self.deliveries.close();
        let patience = self.patience.get().copied().unwrap_or_default();
        if timeout(patience, self.ended()).await.is_ok() {
            return;
        }
        let running = usize::from(self.concurrency) - self.slots.available_permits();
        tracing::warn!(
            group,
            running,
            "group {group} still runs {running} events after {} s; they are given up, and events from the queue are delivered again",
            patience.as_secs()
        );
        self.abort.cancel();
        self.ended().await;
    }

    /// Waits until no execution runs, neither of a delivery nor inline in a dispatch.
    async fn ended(&self) {
        self.deliveries.wait().await;
        // The semaphore is never closed.
        let _ = self.slots.acquire_many(self.concurrency.into()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::pending;

    #[tokio::test]
    async fn an_execution_that_outlasts_the_patience_is_given_up() {
        let executions = Arc::new(Executions::new(0));
        let (held, running) = (Arc::clone(&executions), Arc::new(Semaphore::new(0)));
        let signal = Arc::clone(&running);
        executions.spawn(async move {
            let _slot = held.slot().await;
            signal.add_permits(1);
            held.until_aborted(pending::<()>()).await;
        });
        let _ = running.acquire().await;
        executions.stop(Duration::from_millis(1));
        executions.finish("g").await;
        assert!(executions.is_idle() && executions.slot().await.is_none());
    }
}
