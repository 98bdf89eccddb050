//! The event bus over RabbitMQ.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

mod broadcasts;
mod channels;
mod consuming;
mod dispatching;
mod failing;
mod giving_up;
mod outages;
mod parked;
mod redelivering;
mod refused;
mod removed;
mod stopping;
mod waiting;
