//! Queues of one node, which end with the node's connection.

use crate::{
    amqp::{Amqp, AmqpError, name, table},
    domain::{layout::Layout, name::BusName},
};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use std::sync::Arc;
use uuid::Uuid;

/// The most messages that a node's queue holds. Above it the oldest are dropped.
const LENGTH: i64 = 10_000;

/// Declares queues that belong to this node.
#[derive(Clone)]
pub(super) struct NodeQueues {
    amqp: Arc<Amqp>,
    layout: Layout,
    node: String,
}

impl NodeQueues {
    /// Queues of a node, over the connection that consumes.
    pub(super) fn new(amqp: &Arc<Amqp>, layout: &Layout, node: &str) -> Self {
        Self { amqp: Arc::clone(amqp), layout: layout.clone(), node: node.to_owned() }
    }

    /// Declares a new queue and binds it to an exchange. The queue ends with its consumer or its
    /// connection.
    pub(super) async fn declare(
        &self,
        channel: &Channel,
        bus: &BusName,
        exchange: &str,
        key: &str,
    ) -> Result<ShortString, AmqpError> {
        let queue = name(&self.layout.node_queue(bus, &self.node, Uuid::now_v7()))?;
        let mut arguments = table(&self.layout.marked())?;
        arguments.insert("x-queue-type".into(), AMQPValue::LongString("classic".into()));
        arguments.insert("x-max-length".into(), AMQPValue::LongLongInt(LENGTH));
        arguments.insert("x-overflow".into(), AMQPValue::LongString("drop-head".into()));
        // An exclusive queue lives as long as its connection, which other consumers share. So the
        // queue also ends with its consumer: without one it would only fill up.
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let (exchange, key) = (name(exchange)?, name(key)?);
        // The exchange is looked for first: a queue that cannot be bound would stay as long as the
        // connection.
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let (kind, none) = (ExchangeKind::Direct, FieldTable::default());
        self.amqp.answer(channel.exchange_declare(exchange.clone(), kind, passive, none)).await?;
        self.amqp.answer(channel.queue_declare(queue.clone(), options, arguments)).await?;
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        self.amqp.answer(channel.queue_bind(queue.clone(), exchange, key, options, none)).await?;
        Ok(queue)
    }
}
