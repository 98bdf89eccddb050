//! Settings and surroundings of the bus.

use super::collecting::DiscardRule;
use crate::{amqp::AmqpUrl, clock::Clock, domain::layout::Layout, metrics::Metrics, store::Store};
use std::{sync::Arc, time::Duration};

/// Default pause between two rounds of collecting parked messages.
pub const COLLECT_EVERY: Duration = Duration::from_secs(30);

/// Settings and surroundings of the bus.
#[derive(Clone)]
pub struct RabbitMqBusConfig {
    /// Address of the broker: `--amqp-url`.
    pub amqp_url: AmqpUrl,
    /// Rules by which exchanges and queues are named.
    pub layout: Layout,
    /// This node. Part of its queues' names and of its connections' names.
    pub node: String,
    /// The store that keeps dead letters.
    pub store: Store,
    /// Pause between two rounds of collecting parked messages: [`COLLECT_EVERY`].
    pub collect_every: Duration,
    /// Which returning events are dropped instead of kept.
    pub discards: Arc<dyn DiscardRule>,
    /// The counters of this process.
    pub metrics: Arc<Metrics>,
    /// The clock of this process.
    pub clock: Clock,
}
