//! Consuming events for a listener.

use crate::domain::{
    bus::BusDefinition,
    listener::{Delivery, ListenerSpec},
};
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::watch;

/// What a consumer consumes.
#[derive(Debug, Clone)]
pub struct Consumption {
    /// The settings of the listener that the consumer runs.
    pub listener: ListenerSpec,
    /// The listener's bus.
    pub bus: BusDefinition,
    /// Name of the work queue. Not used for [`Delivery::EveryNode`].
    pub queue: String,
    /// Whether the queue will be deleted. A draining queue is consumed until it is empty, then
    /// left alone so that it can be deleted, and looked at again from time to time.
    pub draining: bool,
}

impl Consumption {
    /// Whether each node gets every event.
    #[must_use]
    pub fn every_node(&self) -> bool {
        self.listener.delivery == Delivery::EveryNode
    }
}

/// Whether a consumer consumes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerState {
    /// The consumer consumes.
    Running,
    /// The consumer cannot consume, for this cause, and keeps trying.
    Waiting(String),
}

/// A consumer of this node.
pub struct Consumer {
    /// The consumer's state.
    pub state: watch::Receiver<ConsumerState>,
    /// Ends the consumer.
    pub stop: Box<dyn Stop>,
}

/// Ends a consumer.
#[async_trait]
pub trait Stop: Send + Sync {
    /// Takes no more events, lets running executions finish for at most `patience`, and returns
    /// when the events of the others are back in their queue.
    async fn stop(self: Box<Self>, patience: Duration);
}
