//! The embedded bus and broker over a real store.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

mod consuming;
mod ending;
mod publishing;
mod retrying;
mod surviving;
mod synchronous;
