//! A delivery that this node has not settled yet.

use crate::clock::Clock;
use lapin::{
    BasicProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
};
use std::time::{Duration, Instant};

/// How long a delivery is held at most. RabbitMQ closes the channel after 30 minutes, and delivers
/// again everything that came over the channel.
const LONGEST: Duration = Duration::from_mins(28);

/// How a delivery ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Settlement {
    /// The event has run, or a copy of the event is safe.
    Acknowledge,
    /// The event goes back to its queue.
    Requeue,
}

/// A delivery with the time since when it is held.
pub(super) struct HeldDelivery {
    delivery: Delivery,
    since: Instant,
    clock: Clock,
}

impl HeldDelivery {
    /// Holds a delivery from now on.
    pub(super) fn new(delivery: Delivery, clock: &Clock) -> Self {
        Self { delivery, since: clock.monotonic(), clock: clock.clone() }
    }

    /// Properties of the message.
    pub(super) fn properties(&self) -> &BasicProperties {
        &self.delivery.properties
    }

    /// Body of the message.
    pub(super) fn body(&self) -> &[u8] {
        &self.delivery.data
    }

    /// Whether the delivery can still be settled. After the loss of its channel the broker delivers
    /// the message again.
    pub(super) fn is_open(&self) -> bool {
        self.delivery.acker.usable()
    }

    /// Whether something that takes this long may begin.
    pub(super) fn has_time_for(&self, duration: Duration) -> bool {
        self.clock.elapsed(self.since) + duration <= LONGEST
    }

    /// The time by which the delivery must be settled.
    pub(super) fn deadline(&self) -> Instant {
        self.since + LONGEST
    }

    /// Settles the delivery.
    pub(super) async fn settle(self, settlement: Settlement) -> lapin::Result<()> {
        let acker = &self.delivery.acker;
        let settled = match settlement {
            Settlement::Acknowledge => acker.ack(BasicAckOptions::default()).await,
            Settlement::Requeue => {
                let options = BasicNackOptions { requeue: true, ..BasicNackOptions::default() };
                acker.nack(options).await
            }
        };
        settled.map(drop)
    }
}
