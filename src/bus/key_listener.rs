//! Listeners that follow registration keys.

use super::{event::Event, execution::Failure};
use crate::domain::{listener::Mode, name::RegistrationKey};
use async_trait::async_trait;
use std::{any::Any, collections::BTreeSet};
use tokio::sync::watch;

/// A listener that follows keys on one node.
///
/// # Guarantees
/// An event runs at most once: there is no retry and no dead letter. Executions begin in the order
/// in which events arrive, up to ten at a time. A listener that is too slow loses the newest events
/// and is told to resynchronise. A key listener never delays another listener.
#[async_trait]
pub trait KeyListener: Send + Sync + 'static {
    /// Whether a dispatch on the same node waits for this listener.
    fn mode(&self) -> Mode {
        Mode::Async
    }

    /// Whether this listener handles the event. Other events are skipped.
    fn is_handling(&self, _event: &Event) -> bool {
        true
    }

    /// Runs one event. `keys` are the event's keys that this listener follows.
    ///
    /// # Errors
    /// A failure is logged and has no other effect.
    async fn on_notification(
        &self,
        event: &Event,
        keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure>;

    /// Tells the listener that it may have missed notifications. The listener should read again all
    /// state that it derives from notifications. Must return quickly.
    fn resynchronise(&self) {}
}

/// Guard of a registered key listener, which is called until the guard is dropped.
pub struct Registration {
    established: watch::Receiver<bool>,
    _end: Box<dyn Any + Send + Sync>,
}

impl Registration {
    /// A registration that is established while `established` is true and ends when `end` is
    /// dropped.
    #[must_use]
    pub fn new(established: watch::Receiver<bool>, end: Box<dyn Any + Send + Sync>) -> Self {
        Self { established, _end: end }
    }

    /// Waits until notifications arrive. From then on every dispatched event with one of the keys
    /// is notified, while the connection lasts.
    pub async fn established(&self) {
        // An error means that the bus is gone, and no notification arrives any more.
        if self.established.clone().wait_for(|established| *established).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
