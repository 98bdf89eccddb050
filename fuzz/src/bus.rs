//! Of the event bus, what reads events. `bus/` is hearken's own.

pub mod codec;
pub mod event;
