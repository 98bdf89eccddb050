//! Listening to registration keys.

use super::{event::Event, execution::Failure};
use crate::domain::{listener::Mode, name::RegistrationKey};
use async_trait::async_trait;
use std::{any::Any, collections::BTreeSet};
use tokio::sync::watch;

/// A listener that follows keys on one node.
///
/// # Guarantees
/// At most once: no retry and no dead letter. Events are handed over in the order in which they
/// arrive, up to ten executions at a time. A listener that is so slow that its waiting events
/// exceed a bound loses the newest and is told to resynchronise. A key listener never delays
/// another listener.
#[async_trait]
pub trait KeyListener: Send + Sync + 'static {
    /// Whether a dispatch on the same node waits for this listener.
    fn mode(&self) -> Mode {
        Mode::Async
    }

    /// Whether this listener runs an event.
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

    /// Says that notifications may have been missed: the listener should read again all state
    /// that it derives from notifications. Must return quickly.
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

    /// Waits until notifications arrive: of every event that is dispatched from then on, as long
    /// as the connection lasts.
    pub async fn established(&self) {
        // An error means that the bus is gone, and no notification arrives any more.
        if self.established.clone().wait_for(|established| *established).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
