//! The event bus: events in, listeners called.
//!
//! Two buses exist: over RabbitMQ, and in the process with its queues in the store. Neither
//! declares a work queue; that is the reconciler's.

pub mod codec;
pub mod event;
pub mod local;
pub mod rabbitmq;

use crate::domain::{
    listener::{Delivery, Listener},
    name::{BusName, GroupName},
};
use async_trait::async_trait;
use event::Event;
use serde::{Deserialize, Serialize};
use std::{error::Error, sync::Arc, time::Duration};
use tokio::sync::{broadcast, watch};

/// Why an event was not accepted. The caller keeps it and may send it again.
#[derive(Debug, thiserror::Error)]
pub enum DispatchError {
    /// Neither the broker nor the store took it, or it is not known whether the broker did.
    #[error("the event was not accepted: {what}")]
    Unavailable {
        /// What was tried.
        what: String,
        /// Why it failed.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// The bus has listeners, and the broker has no queue for any of them yet.
    #[error(
        "bus {0} has listeners and the broker routes to none of them; the topology is not converged"
    )]
    Unroutable(BusName),
}

/// How an execution of a listener failed.
#[derive(Debug, thiserror::Error)]
#[error("{cause}")]
pub struct Failure {
    /// Why, in words for an operator.
    pub cause: String,
    /// Not before this pause, where the other side asked for one (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl Failure {
    /// A failure that is tried again after the listener's own pause.
    pub fn new(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), retry_after: None }
    }
}

/// What a listener is told about the execution it is in.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The group it runs for.
    pub group: GroupName,
    /// The bus the event came from.
    pub bus: BusName,
    /// 0 for the first execution, then the number of the retry.
    pub attempt: u32,
}

/// Runs one event. Called up to `concurrency` times at once; must bear being called again with
/// the same event.
#[async_trait]
pub trait Handler: Send + Sync + 'static {
    /// Runs the event. `Err` means: try again later.
    async fn handle(&self, event: &Event, execution: &Execution) -> Result<(), Failure>;
}

/// What a consumer does.
#[derive(Debug, Clone)]
pub struct Consumption {
    /// The listener it consumes for.
    pub listener: Listener,
    /// The work queue's name. Not used for [`Delivery::EveryNode`].
    pub queue: String,
    /// Whether the queue is on its way out: it is consumed until it is empty, then left alone so
    /// that it can be deleted, and looked at again now and then.
    pub draining: bool,
}

impl Consumption {
    /// Whether each node gets every event.
    #[must_use]
    pub fn every_node(&self) -> bool {
        self.listener.delivery == Delivery::EveryNode
    }
}

/// How a consumer is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerState {
    /// It consumes.
    Running,
    /// It does not, and tries again: why.
    Waiting(String),
}

/// A running consumer.
pub struct Consumer {
    /// How it is doing.
    pub state: watch::Receiver<ConsumerState>,
    /// Its task and the token that ends it.
    pub stop: Box<dyn Stop>,
}

/// Ends a consumer.
#[async_trait]
pub trait Stop: Send + Sync {
    /// Stops taking events, lets those in hand finish for at most `patience`, and returns when the
    /// broker has taken the rest back.
    async fn stop(self: Box<Self>, patience: Duration);
}

/// Tells nodes that the topology changed. A hint: whoever misses it follows its tail or timer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyChanged {
    /// The bus.
    pub bus: BusName,
    /// The roster's version that the topology now follows.
    pub version: u64,
    /// Groups whose listener was added since the last broadcast.
    pub added: Vec<GroupName>,
    /// Groups whose listener was removed.
    pub removed: Vec<GroupName>,
}

/// Events in, listeners called.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Hands an event to the bus. On `Ok` it is safe: in the broker, confirmed, or in the store. A
    /// noop event is delivered to nobody. `has_listeners` says whether an event that reaches no
    /// queue is a failure.
    ///
    /// # Errors
    /// [`DispatchError`]: the caller still has the only copy.
    async fn dispatch(
        &self,
        bus: &BusName,
        event: &Event,
        has_listeners: bool,
    ) -> Result<(), DispatchError>;

    /// Starts consuming. Never fails: what is in the way is the consumer's state, and it keeps
    /// trying with growing pauses. [`EventBus::wake`] makes waiting consumers try at once.
    fn consume(&self, consumption: Consumption, handler: Arc<dyn Handler>) -> Consumer;

    /// Makes every waiting consumer try again now.
    fn wake(&self);

    /// Broadcasts a change of the topology to every node, this one included. Best effort.
    async fn announce(&self, change: &TopologyChanged);

    /// The broadcasts as they arrive on this node.
    fn changes(&self) -> broadcast::Receiver<TopologyChanged>;

    /// Whether the bus can be reached, in words for the health check: `Err` says what is wrong.
    ///
    /// # Errors
    /// Why it is not healthy.
    async fn health(&self) -> Result<(), String>;

    /// Lets go of every connection. Consumers have been stopped before.
    async fn close(&self);
}
