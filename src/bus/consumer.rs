//! Consumers of events.

use crate::domain::{
    bus::BusDefinition,
    listener::{Delivery, ListenerSpec, Mode},
};
use async_trait::async_trait;
use std::time::Duration;
use tokio::sync::watch;

/// Description of what a consumer consumes.
#[derive(Debug, Clone)]
pub struct Consumption {
    /// The settings of the listener that the consumer runs.
    pub listener: ListenerSpec,
    /// The listener's bus.
    pub bus: BusDefinition,
    /// Name of the work queue. Not used for [`Delivery::EveryNode`].
    pub queue: String,
    /// Whether the queue is to be deleted once it is empty. The consumer leaves an empty draining
    /// queue, so that it can be deleted, and looks from time to time whether it still exists.
    pub draining: bool,
}

impl Consumption {
    /// Whether each node gets every event.
    #[must_use]
    pub fn every_node(&self) -> bool {
        self.listener.delivery == Delivery::EveryNode
    }

    /// Whether each dispatch runs the listener on its own node before it returns. The event that
    /// comes back to the node is skipped.
    #[must_use]
    pub fn runs_inline(&self) -> bool {
        self.every_node() && self.listener.mode == Mode::Sync
    }
}

/// State of a consumer.
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
    /// Takes no more events and lets running executions finish for at most `patience`. Returns when
    /// the events of unfinished executions are back in their queue.
    async fn stop(self: Box<Self>, patience: Duration);
}
