//! The queue that a consumer consumes.

use crate::{
    amqp::{Amqp, AmqpError, Scout, name},
    bus::{Consumption, rabbitmq::node_queue::NodeQueues},
    domain::layout::Layout,
};
use lapin::{
    Channel,
    options::{QueueBindOptions, QueueDeclareOptions},
    types::{FieldTable, ShortString},
};
use std::sync::Arc;

/// Opens the work queue of a group, or a queue of this node for a listener on every node.
pub(super) struct QueueSource {
    /// The connection that consumes.
    pub(super) amqp: Arc<Amqp>,
    /// Looks for what is to be used.
    pub(super) scout: Arc<Scout>,
    /// The layout.
    pub(super) layout: Layout,
    /// Makes the queues of this node.
    pub(super) node_queues: NodeQueues,
}

impl QueueSource {
    /// Makes sure that the queue to consume exists, or the exchange that a queue of this node is
    /// bound to. Otherwise each attempt would cost a channel of the connection that consumes.
    pub(super) async fn find(&self, consumption: &Consumption) -> Result<(), AmqpError> {
        if consumption.every_node() {
            self.scout.find_exchange(&self.layout.events(&consumption.bus)).await
        } else {
            self.scout.find_queue(&consumption.queue).await
        }
    }

    /// The queue to consume. A queue of this node is declared and bound.
    pub(super) async fn open(
        &self,
        channel: &Channel,
        consumption: &Consumption,
    ) -> Result<ShortString, AmqpError> {
        if !consumption.every_node() {
            return name(&consumption.queue);
        }
        let events = self.layout.events(&consumption.bus);
        self.node_queues.declare(channel, &consumption.bus.name, &events, "").await
    }

    /// Binds a queue of this node once more.
    pub(super) async fn bind_again(
        &self,
        channel: &Channel,
        consumption: &Consumption,
        queue: &ShortString,
    ) -> Result<(), AmqpError> {
        let events = name(&self.layout.events(&consumption.bus))?;
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let key = ShortString::default();
        let binding = channel.queue_bind(queue.clone(), events, key, options, none);
        self.amqp.answer(binding).await
    }

    /// Number of events that wait in the queue, by the broker's own count.
    pub(super) async fn ready(
        &self,
        channel: &Channel,
        queue: &ShortString,
    ) -> Result<u32, AmqpError> {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asking = channel.queue_declare(queue.clone(), options, FieldTable::default());
        Ok(self.amqp.answer(asking).await?.message_count())
    }
}
