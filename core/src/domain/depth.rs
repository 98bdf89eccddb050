//! Counts of a queue, as the broker gives them.

use serde::{Deserialize, Serialize};

/// Counts of a queue at one moment. RabbitMQ's management API may lag by seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Depth {
    /// Events that wait for a consumer.
    pub ready: u64,
    /// Events that were delivered to a consumer and not acknowledged.
    pub unacked: u64,
    /// Consumers of the queue.
    pub consumers: u64,
}

impl Depth {
    /// Whether the queue holds an event, waiting or unacknowledged.
    #[must_use]
    pub fn holds_events(&self) -> bool {
        self.ready > 0 || self.unacked > 0
    }
}
