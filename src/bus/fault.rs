//! Reasons why a bus is not healthy.

use crate::{amqp::AmqpError, store::StoreError};

/// Reason why notifications do not arrive, or may not arrive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationFault {
    /// This node does not listen to the bus.
    #[error("no notifications arrive: {0}")]
    Interrupted(String),
    /// The first probe since this node listens has not come back.
    #[error("no probe came back yet: {0}")]
    Unproven(String),
    /// Probes came back earlier, and no longer do.
    #[error("no probe came back for {seconds} s: {cause}")]
    Silent {
        /// Age of the last probe that came back, in seconds.
        seconds: u64,
        /// Cause, for an operator.
        cause: String,
    },
    /// Keys wait for their binding for too long.
    #[error("{count} keys have waited for their binding for {seconds} s")]
    Unbound {
        /// Number of keys.
        count: usize,
        /// Time since the first of the keys waits, in seconds.
        seconds: u64,
    },
}

/// Failure to reach what a bus stands on: the broker, or the embedded store.
#[derive(Debug, thiserror::Error)]
pub enum BusUnreachable {
    /// The broker cannot be reached.
    #[error(transparent)]
    Broker(#[from] AmqpError),
    /// The embedded store cannot be read.
    #[error("the embedded bus cannot read its store")]
    Store(#[from] StoreError),
}
