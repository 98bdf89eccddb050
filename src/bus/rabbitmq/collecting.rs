//! Collecting parked messages into the database.
//!
//! The broker's queue of parked messages is bounded and drops its oldest; the database is not
//! bounded. In the database a parked message is listed, filtered, redelivered and deleted as every
//! other dead letter.
//!
//! - `collector`: fetches, keeps and acknowledges.
//! - `parked`: the dead letter of a parked message.
//! - `origin`: where a parked message comes from, and why.
//! - `discard_rule`: which groups' events are dropped instead.

mod collector;
mod discard_rule;
mod origin;
mod parked;

pub(crate) use collector::Collector;
pub use discard_rule::{DiscardNothing, DiscardRule};
