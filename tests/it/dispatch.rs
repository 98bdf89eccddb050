//! Dispatching: events that are kept, published again, or redelivered.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

mod keeping;
mod redelivering;
mod redispatching;
