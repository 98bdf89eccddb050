//! Consuming for listeners.
//!
//! - `consumer`: the task of one listener, which makes a new session after each outage.
//! - `session`: consuming over one channel.
//! - `queue_source`: the queue to consume: a work queue, or a queue of this node.
//! - `executions`: the execution slots of a listener, and how they end.
//! - `delivery`: one delivery, from the queue to its settlement.
//! - `interrupted`: the consumers that do not consume, reported together.

mod consumer;
mod delivery;
mod executions;
mod interrupted;
mod queue_source;
mod session;

pub(crate) use consumer::Consuming;
pub(crate) use interrupted::InterruptedConsumers;
