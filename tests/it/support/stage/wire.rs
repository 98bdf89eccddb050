//! What another program does on the broker of a stage.

use super::{Engine, Stage, specs::bus};
use crate::support::wait;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};

impl Stage {
    /// A plain connection to RabbitMQ, as any other program has it.
    pub(crate) async fn plain(&self) -> (Connection, Channel) {
        let connecting = Connection::connect(&self.host().amqp, ConnectionProperties::default());
        let connection = connecting.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    }

    /// Publishes a message to an exchange. The message must reach a queue.
    pub(crate) async fn publish_to(
        &self,
        exchange: &str,
        key: &str,
        body: &[u8],
        properties: BasicProperties,
    ) {
        let (_connection, channel) = self.plain().await;
        route(&channel, exchange, key, body, properties).await;
    }

    /// Publishes a message to the main exchange.
    pub(crate) async fn publish(&self, body: &[u8], properties: BasicProperties) {
        self.publish_to(&self.layout.main(&bus()), "", body, properties).await;
    }

    /// Publishes bodies without properties on either engine. They must reach a queue.
    pub(crate) async fn publish_raw(&self, exchange: &str, key: &str, bodies: &[&[u8]]) {
        if let Engine::Embedded(_) = self.engine {
            let (embedded, headers) = (self.store.embedded().unwrap(), serde_json::json!({}));
            for body in bodies {
                let publishing = embedded.publish(exchange, key, None, &headers, body);
                assert!(!publishing.await.unwrap().is_empty());
            }
            return;
        }
        let (_connection, channel) = self.plain().await;
        for body in bodies {
            route(&channel, exchange, key, body, BasicProperties::default()).await;
        }
    }

    /// Takes the next message out of a queue, once there is one.
    pub(crate) async fn take(&self, queue: &str) -> BasicGetMessage {
        let (_connection, channel) = self.plain().await;
        let options = BasicGetOptions { no_ack: true };
        let what = format!("a message is in queue {queue}");
        wait::until(&what, async || channel.basic_get(queue.into(), options).await.unwrap()).await
    }

    /// Deletes a queue as an administrator does by hand.
    pub(crate) async fn delete_queue(&self, queue: &str) {
        let path = format!("queues/{}/{queue}", self.host().name);
        self.host().api(reqwest::Method::DELETE, &path, None).await;
    }

    /// A queue of another program, bound to an exchange of ours.
    pub(crate) async fn foreign_queue(&self, exchange: &str, key: &str) -> ForeignQueue {
        let (connection, channel) = self.plain().await;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared =
            channel.queue_declare("foreign".into(), options, FieldTable::default()).await;
        let name = declared.unwrap().name().clone();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(name, exchange.into(), key.into(), options, none).await.unwrap();
        ForeignQueue { _connection: connection, channel }
    }
}

/// Publishes a message, which must reach a queue.
async fn route(
    channel: &Channel,
    exchange: &str,
    key: &str,
    body: &[u8],
    properties: BasicProperties,
) {
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let publishing = channel.basic_publish(exchange.into(), key.into(), options, body, properties);
    let confirmation = publishing.await.unwrap().await.unwrap();
    assert!(confirmation.is_ack() && confirmation.take_message().is_none(), "it was routed");
}

/// A queue of another program.
pub(crate) struct ForeignQueue {
    _connection: Connection,
    channel: Channel,
}

impl ForeignQueue {
    /// Takes the next message, once there is one.
    pub(crate) async fn take(&self) -> BasicGetMessage {
        let options = BasicGetOptions { no_ack: true };
        wait::until("a message is in the foreign queue", async || {
            self.channel.basic_get("foreign".into(), options).await.unwrap()
        })
        .await
    }

    /// Number of messages that wait.
    pub(crate) async fn left(&self) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asking = self.channel.queue_declare("foreign".into(), options, FieldTable::default());
        asking.await.unwrap().message_count()
    }
}

/// A header of a message, as text.
pub(crate) fn header(message: &BasicGetMessage, name: &str) -> Option<String> {
    match message.delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => Some(format!("{other:?}")),
    }
}
