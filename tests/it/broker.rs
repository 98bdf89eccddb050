//! The broker's contract against every implementation, and faults of RabbitMQ.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails there")]

pub(crate) mod contract;
mod faults;
mod local;
pub(crate) mod rabbitmq;
