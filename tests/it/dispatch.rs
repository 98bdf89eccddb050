//! Dispatching: what is kept, what is published again, and what goes back.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

mod keeping;
mod redelivering;
mod redispatching;
