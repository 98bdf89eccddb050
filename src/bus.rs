//! The event bus: it takes events and calls listeners.
//!
//! # The way of an event
//! [`crate::dispatch`] passes an [`Outgoing`] to [`EventBus::publish`]. The bus calls the
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
//! - `outgoing`, `consumer`, `listener`, `key_listener`, `execution`, `broadcast`, `fault`: the
//!   types of this interface, one file each.
//! - [`codec`] and [`event`]: bytes and events (crate `hearken-core`).
//! - [`registry`]: the key listeners and the inline listeners of this node. Both buses use it.
//! - `contain` and [`verdict`]: one execution, and the decision after it. Both buses use them.
//! - [`rabbitmq`]: the bus over RabbitMQ.
//! - [`local`]: the bus within one process, whose queues are in the embedded store.
//!
//! No bus declares a work queue. The reconciler declares them.

mod broadcast;
mod consumer;
mod contain;
mod execution;
mod fault;
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
pub use fault::{BusUnreachable, NotificationFault};
pub use hearken_core::{codec, event};
pub use key_listener::{KeyListener, Registration};
pub use listener::Listener;
pub use outgoing::{DispatchError, Outgoing, Redelivery};

use crate::domain::{
    bus::{BusDefinition, Buses},
    name::{BusName, RegistrationKey},
};
use async_trait::async_trait;
use std::{collections::BTreeSet, sync::Arc};
use tokio::sync::broadcast as channel;

/// An event bus: it takes events and calls listeners.
///
/// Programs dispatch through [`crate::dispatch::Dispatcher`], which keeps events that could not be
/// published.
#[async_trait]
pub trait EventBus: Send + Sync + 'static {
    /// Tells the bus which buses the cluster has. Over RabbitMQ, this node then receives the
    /// notifications and broadcasts of these buses and of no others.
    fn listen_to(&self, buses: &Buses);

    /// Publishes an event. The synchronous listeners of this node run first. Then the event goes to
    /// every work queue of the bus, and then its keys are notified.
    ///
    /// On `Ok` the event is safe: the broker has confirmed it, or it is in the store. Notifications
    /// are best effort, and a lost notification is not an error. A noop event goes to no listener.
    ///
    /// # Errors
    /// [`DispatchError`]: the caller has the only copy, or it is not known whether the bus has a
    /// copy.
    async fn publish(&self, bus: &BusDefinition, outgoing: &Outgoing) -> Result<(), DispatchError>;

    /// Puts the event of a dead letter into the work queue of one group, with a full number of
    /// attempts. No other group and no key listener gets the event.
    ///
    /// On `Ok` the event is safe: it is in the queue, or it is parked with the group's name because
    /// the broker did not have the group's queue at that moment.
    ///
    /// # Errors
    /// [`DispatchError`], as for publishing.
    async fn redeliver(
        &self,
        bus: &BusDefinition,
        redelivery: &Redelivery,
    ) -> Result<(), DispatchError>;

    /// Makes a listener follow keys. The listener gets each event that is dispatched with one of
    /// the keys on any node of the cluster, at most once. It gets events from the return of
    /// [`Registration::established`] until the registration is dropped.
    ///
    /// Never fails: while the broker is away the registration waits, and after each gap the
    /// listener is told to resynchronise. A listener (one `Arc`) that is registered twice under a
    /// key is called once, and leaves the key with the first of its registrations that ends.
    fn register(
        &self,
        bus: &BusDefinition,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration;

    /// Starts a consumer for a listener. Never fails: when the consumer cannot consume, its state
    /// says why, and it tries again after growing pauses. [`EventBus::wake`] makes it try at once.
    fn consume(&self, consumption: Consumption, listener: Arc<dyn Listener>) -> Consumer;

    /// Makes every waiting consumer try again now.
    fn wake(&self);

    /// Broadcasts a change of the topology to every node, including this node. Best effort.
    async fn announce(&self, change: &TopologyChanged);

    /// Receiver of the broadcasts that arrive on this node.
    fn changes(&self) -> channel::Receiver<TopologyChanged>;

    /// Health of the notifications on a bus: whether the keys are bound, and whether a probe has
    /// come back recently. Sends nothing.
    ///
    /// # Errors
    /// The reason why notifications do not arrive.
    fn notifications(&self, bus: &BusName) -> Result<(), NotificationFault>;

    /// Health of the bus itself: whether it can be reached.
    ///
    /// # Errors
    /// The reason why the bus cannot be reached.
    async fn health(&self) -> Result<(), BusUnreachable>;

    /// Closes every connection. The caller stops the consumers first.
    async fn close(&self);
}
