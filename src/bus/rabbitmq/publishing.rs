//! Publishing with confirms.
//!
//! - `publication`: a message to publish, and what the broker did with it.
//! - `publisher`: the task and the channel of each exchange.
//! - `window`: the messages of one channel that the broker has not confirmed yet.
//! - `event`: events and redelivered events as messages.

mod event;
mod exchange;
mod publication;
mod publisher;
mod window;

pub(crate) use event::EventPublisher;
pub(crate) use publication::{PERSISTENT, Payload, Publication, Published};
pub(crate) use publisher::Publisher;
