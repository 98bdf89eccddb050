//! The event bus: events in, listeners called.
//!
//! Two buses exist: over RabbitMQ, and in the process with its queues in the store. Neither
//! declares a work queue; that is the reconciler's.

pub mod local;
pub mod rabbitmq;
pub mod registry;
mod run;
pub mod verdict;

pub use hearken_core::{codec, event};

use crate::{
    amqp::AmqpError,
    domain::{
        bus::BusDefinition,
        listener::{Delivery, ListenerSpec, Mode},
        name::{BusName, GroupName, RegistrationKey},
    },
};
use async_trait::async_trait;
use codec::EncodeError;
use event::Event;
use serde::{Deserialize, Serialize};
use std::{
    any::Any,
    collections::BTreeSet,
    error::Error,
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio::sync::{broadcast, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

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
    /// The bus cannot carry it, today or ever: sending it again changes nothing.
    #[error("the event cannot be written in the form of the bus")]
    Unwritable(#[from] EncodeError),
}

impl DispatchError {
    /// Whether the broker lacks something that a pass of the reconciler may bring.
    pub(crate) fn wants_topology(&self) -> bool {
        match self {
            Self::Unroutable(_) => true,
            Self::Unavailable { source: Some(source), .. } => {
                matches!(source.downcast_ref(), Some(AmqpError::Missing(_)))
            }
            Self::Unavailable { .. } | Self::Unwritable(_) => false,
        }
    }
}

/// How an execution of a listener failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// It may work later: tried again after the listener's own pause, as often as the listener's
    /// `retry` says, then kept as a dead letter.
    #[error("{0}")]
    Transient(String),
    /// As [`Failure::Transient`], and not before this pause is over, because the other side asked
    /// for it (`Retry-After`).
    #[error("{cause}")]
    RetryAfter {
        /// Why.
        cause: String,
        /// How long to wait at least.
        pause: Duration,
    },
    /// It will never work with this event, which becomes a dead letter at once.
    #[error("{0}")]
    Permanent(String),
}

impl Failure {
    /// A failure that is tried again after the listener's own pause.
    pub fn new(cause: impl Into<String>) -> Self {
        Self::Transient(cause.into())
    }

    /// A failure that trying again cannot mend.
    pub fn permanent(cause: impl Into<String>) -> Self {
        Self::Permanent(cause.into())
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
    /// When the event was published, or put back for this group, where the bus knows.
    pub published_at: Option<OffsetDateTime>,
    /// When the event failed for this group for the first time, where it did.
    pub first_failed_at: Option<OffsetDateTime>,
    /// When the execution is given up as a failure: the listener's `timeout` from its beginning.
    pub deadline: Instant,
    /// Cancelled when the execution is not wanted any more, because the listener or the node stops
    /// and its patience is over. The execution is dropped then; what it spawned should end too.
    pub cancelled: CancellationToken,
}

impl Execution {
    /// An execution that begins now.
    #[must_use]
    pub fn begin(listener: &ListenerSpec, attempt: u32) -> Self {
        Self {
            group: listener.group.clone(),
            bus: listener.bus.clone(),
            attempt,
            published_at: None,
            first_failed_at: None,
            deadline: Instant::now() + listener.timeout.duration(),
            cancelled: CancellationToken::new(),
        }
    }
}

/// An event on its way out.
#[derive(Debug, Clone)]
pub struct Outgoing {
    /// The event.
    pub event: Event,
    /// Whom to notify of it. The keys of one event are never those of another, also in a batch.
    pub keys: BTreeSet<RegistrationKey>,
    /// Whether reaching no work queue is a failure: the roster has listeners on the bus.
    pub must_route: bool,
    /// The node that dispatched it before and could not publish it. Its synchronous listeners have
    /// run then: they do not run inline once more, nor when the event comes back to that node.
    pub kept_by: Option<String>,
}

/// A dead letter on its way back to its group.
#[derive(Debug, Clone)]
pub struct Redelivery {
    /// The group.
    pub group: GroupName,
    /// Its current work queue.
    pub queue: String,
    /// The form of the body.
    pub content_type: Option<String>,
    /// The event as it travelled.
    pub body: Vec<u8>,
    /// The entry that it comes from, named by the next one if it fails again.
    pub previous: Uuid,
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
    pub listener: ListenerSpec,
    /// The listener's bus.
    pub bus: BusDefinition,
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

/// Somebody who follows keys on this node.
///
/// # Guarantees
/// At most once: no retry and no dead letter. Events are handed over in the order in which they
/// arrive, up to ten executions at a time; a listener that is so slow that its waiting events
/// exceed a bound loses the newest and is told to resynchronise. What it does never holds up
/// another listener.
#[async_trait]
pub trait KeyListener: Send + Sync + 'static {
    /// Whether a dispatch on the same node waits for it.
    fn mode(&self) -> Mode {
        Mode::Async
    }

    /// Whether an event concerns it.
    fn is_handling(&self, _event: &Event) -> bool {
        true
    }

    /// Runs one event. `keys` are those of the event that the listener follows.
    ///
    /// # Errors
    /// A failure is logged, and that is all that comes of it.
    async fn on_notification(
        &self,
        event: &Event,
        keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure>;

    /// Something may have been missed: whatever was derived from notifications should be read
    /// anew. Must return quickly.
    fn resynchronise(&self) {}
}

/// What a key listener holds as long as it listens.
pub struct Registration {
    established: watch::Receiver<bool>,
    _end: Box<dyn Any + Send + Sync>,
}

impl Registration {
    /// A registration that is over when `end` is dropped, and established when the other says.
    #[must_use]
    pub fn new(established: watch::Receiver<bool>, end: Box<dyn Any + Send + Sync>) -> Self {
        Self { established, _end: end }
    }

    /// Waits until notifications arrive: every event that is dispatched from now on, as long as
    /// the connection lasts.
    pub async fn established(&self) {
        // An error means that the bus is gone, and then nothing arrives any more.
        if self.established.clone().wait_for(|established| *established).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
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
///
/// Users dispatch through [`crate::dispatch::Dispatcher`], which keeps what could not be published.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Publishes an event: its local synchronous listeners run first, then it goes to every work
    /// queue of the bus, then its keys are notified. On `Ok` the event is safe: in the broker,
    /// confirmed, or in the store. Notifying is best effort and never an error. A noop event is
    /// delivered to nobody.
    ///
    /// # Errors
    /// [`DispatchError`]: the caller still has the only copy, or it is not known who has it.
    async fn publish(&self, bus: &BusDefinition, outgoing: &Outgoing) -> Result<(), DispatchError>;

    /// Puts an event back into the work queue of one group, with all its attempts before it. No
    /// other group and nobody who follows a key gets it. On `Ok` it is safe: in the queue, or,
    /// where the broker did not know the group's queue just then, among what is parked, with the
    /// group's name.
    ///
    /// # Errors
    /// [`DispatchError`], as for publishing.
    async fn redeliver(
        &self,
        bus: &BusDefinition,
        redelivery: &Redelivery,
    ) -> Result<(), DispatchError>;

    /// Follows keys: the listener is told of events that are dispatched with one of them anywhere
    /// in the cluster, at most once each, from when [`Registration::established`] says so until
    /// the registration is dropped. Never fails: while the broker is away it waits, and after each
    /// gap the listener is told to resynchronise. The same listener (the same `Arc`) registered
    /// twice under a key is called once, and gone from it with the first registration that ends.
    fn register(
        &self,
        bus: &BusDefinition,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration;

    /// Starts consuming. Never fails: what is in the way is the consumer's state, and it keeps
    /// trying with growing pauses. [`EventBus::wake`] makes waiting consumers try at once.
    fn consume(&self, consumption: Consumption, handler: Arc<dyn Handler>) -> Consumer;

    /// Makes every waiting consumer try again now.
    fn wake(&self);

    /// Broadcasts a change of the topology to every node, this one included. Best effort.
    async fn announce(&self, change: &TopologyChanged);

    /// The broadcasts as they arrive on this node.
    fn changes(&self) -> broadcast::Receiver<TopologyChanged>;

    /// How notifications do on a bus, for its health check: whether the bindings are as wanted and
    /// a probe came back lately. Does not send anything.
    ///
    /// # Errors
    /// Why they do not arrive.
    fn notifications(&self, bus: &BusName) -> Result<(), String>;

    /// Whether the bus can be reached, in words for the health check: `Err` says what is wrong.
    ///
    /// # Errors
    /// Why it is not healthy.
    async fn health(&self) -> Result<(), String>;

    /// Lets go of every connection. Consumers have been stopped before.
    async fn close(&self);
}
