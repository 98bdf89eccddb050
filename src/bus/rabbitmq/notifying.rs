//! Notifications: events for the key listeners of every node.
//!
//! Outwards:
//! - `notifier`: publishes an event to the nodes that follow its keys.
//! - `broadcasts`: publishes changes of the topology, and hands received ones on.
//!
//! Inwards:
//! - `receiver`: the task that listens on this node's queue of a bus.
//! - `inbox`: hands each message of that queue to its readers.
//! - `binder`: keeps the queue bound to the keys that this node follows; `key_bindings` decides
//!   what to bind.
//! - `probe`: shows that messages still arrive.
//! - `audience`: the listeners of this node, by bus.
//! - `health`: whether notifications arrive.

mod audience;
mod binder;
mod broadcasts;
mod error;
mod health;
mod inbox;
mod key_bindings;
mod notifier;
mod probe;
mod receiver;
mod routing_keys;

pub(crate) use audience::{Audiences, BusAudience};
pub(crate) use broadcasts::Broadcasts;
pub(crate) use notifier::Notifier;
pub(crate) use receiver::NotificationReceiver;
