//! The event bus: events in, listeners called.
//!
//! # The way of an event
//! [`crate::dispatch`] hands an [`Outgoing`] to [`EventBus::publish`]. The bus calls the
//! synchronous listeners of this node, writes the event with the bus's [`codec`], stores it in the
//! work queue of every group, and notifies the keys that come with the event.
//!
//! On each node a [`Consumer`] takes events from the work queue of its group and calls the group's
//! [`Listener`], contained: a panic or an execution over its time is a [`Failure`]. After a failure
//! [`verdict`] decides between another execution, after a pause, and a dead letter in the store.
//! A dead letter comes back through [`EventBus::redeliver`].
//!
//! Every node also runs the [`KeyListener`]s that the [`registry`] has for the event's keys. They
//! get an event at most once.
//!
//! # Rooms
//! - `outgoing`, `consumer`, `listener`, `key_listener`, `execution`, `broadcast`: the words of
//!   this interface, one file each.
//! - [`codec`] and [`event`]: bytes and events (crate `hearken-core`).
//! - [`registry`]: the key listeners and the inline listeners of this node. Both buses use it.
//! - `contain` and [`verdict`]: one execution, and the decision after it. Both buses use them.
//! - [`rabbitmq`]: the bus over RabbitMQ.
//! - [`local`]: the bus within one process, whose queues are in the embedded store.
//!
//! No bus declares a work queue: the reconciler does.

mod broadcast;
mod consumer;
mod contain;
mod execution;
mod key_listener;
mod listener;
pub mod local;
mod outgoing;
pub mod rabbitmq;
pub mod registry;
pub mod verdict;

pub use broadcast::TopologyChanged;
pub use consumer::{Consumer, ConsumerState, Consumption, Stop};
pub use execution::{Execution, Failure};
pub use hearken_core::{codec, event};
pub use key_listener::{KeyListener, Registration};
pub use listener::Listener;
pub use outgoing::{DispatchError, Outgoing, Redelivery};

use crate::domain::{
    bus::BusDefinition,
    name::{BusName, RegistrationKey},
};
use async_trait::async_trait;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::broadcast as channel;

/// Events in, listeners called.
///
/// Programs dispatch through [`crate::dispatch::Dispatcher`], which keeps events that could not be
/// published.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Publishes an event. The synchronous listeners of this node run first; then the event goes to
    /// every work queue of the bus; then its keys are notified. On `Ok` the event is safe: confirmed
    /// by the broker, or in the store. Notifying is best effort and never an error. A noop event
    /// goes to no listener.
    ///
    /// # Errors
    /// [`DispatchError`]: the caller has the only copy, or it is not known whether the bus has one.
    async fn publish(&self, bus: &BusDefinition, outgoing: &Outgoing) -> Result<(), DispatchError>;

    /// Puts an event back into the work queue of one group, with all its attempts before it. No
    /// other group and no key listener gets the event. On `Ok` the event is safe: in the queue, or,
    /// where the broker did not know the group's queue at that moment, parked with the group's
    /// name.
    ///
    /// # Errors
    /// [`DispatchError`], as for publishing.
    async fn redeliver(
        &self,
        bus: &BusDefinition,
        redelivery: &Redelivery,
    ) -> Result<(), DispatchError>;

    /// Makes a listener follow keys. The listener is told of events that are dispatched with one of
    /// the keys anywhere in the cluster, at most once each, from when
    /// [`Registration::established`] returns until the registration is dropped.
    ///
    /// Never fails: while the broker is away the registration waits, and after each gap the
    /// listener is told to resynchronise. The same listener (the same `Arc`) that is registered
    /// twice under a key is called once, and leaves the key with the first of its registrations
    /// that ends.
    fn register(
        &self,
        bus: &BusDefinition,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration;

    /// Starts to consume for a listener. Never fails: a cause that prevents consuming is the
    /// consumer's state, and the consumer keeps trying with growing pauses. [`EventBus::wake`]
    /// makes it try at once.
    fn consume(&self, consumption: Consumption, listener: Arc<dyn Listener>) -> Consumer;

    /// Makes every waiting consumer try again now.
    fn wake(&self);

    /// Broadcasts a change of the topology to every node, this one included. Best effort.
    async fn announce(&self, change: &TopologyChanged);

    /// The broadcasts as they arrive on this node.
    fn changes(&self) -> channel::Receiver<TopologyChanged>;

    /// Health of the notifications on a bus: whether the bindings are as wanted and a probe came
    /// back lately. Sends nothing.
    ///
    /// # Errors
    /// Why notifications do not arrive.
    fn notifications(&self, bus: &BusName) -> Result<(), String>;

    /// Health of the bus itself: whether it can be reached.
    ///
    /// # Errors
    /// Why the bus is not healthy.
    async fn health(&self) -> Result<(), String>;

    /// Closes every connection. The caller has stopped the consumers before.
    async fn close(&self);
}
