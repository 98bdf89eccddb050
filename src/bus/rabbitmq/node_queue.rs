//! Queues of one node, which come and go with its connection.

use super::Shared;
use crate::{
    amqp::{AmqpError, name, table},
    domain::name::BusName,
};
use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use uuid::Uuid;

/// The most events that a node's own queue holds before the oldest go.
const LENGTH: i64 = 10_000;

impl Shared {
    /// A new queue of this node, gone with its consumer or its connection, bound to an exchange.
    pub(super) async fn node_queue(
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
        // An exclusive queue lives as long as its connection, which other consumers share: it also
        // goes with its own consumer, or it would collect events for nobody.
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..QueueDeclareOptions::default()
        };
        let amqp = &self.consuming;
        let (exchange, key) = (name(exchange)?, name(key)?);
        // Asked first: a queue that cannot be bound would stay as long as the connection.
        let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
        let (kind, none) = (ExchangeKind::Direct, FieldTable::default());
        amqp.answer(channel.exchange_declare(exchange.clone(), kind, passive, none)).await?;
        amqp.answer(channel.queue_declare(queue.clone(), options, arguments)).await?;
        let options = QueueBindOptions::default();
        let none = FieldTable::default();
        amqp.answer(channel.queue_bind(queue.clone(), exchange, key, options, none)).await?;
        Ok(queue)
    }
}
