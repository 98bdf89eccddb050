//! The broker's side of a James: what it declares and how it publishes. Each node of it consumes
//! the shared queue; here no node does, so that its copies can be counted.

use crate::support::services::VirtualHost;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicPublishOptions, ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use reqwest::Method;
use serde_json::Value;

const EXCHANGE: &str = "mailboxEvent-exchange";
const DEAD_LETTERS: &str = "mailboxEvent-dead-letter-exchange";
const SHARED: &str = "mailboxEvent-workQueue-org.apache.james.events.GroupRegistrationHandler$GroupRegistrationHandlerGroup";
const GROUP: &str = "org.apache.james.mailbox.events.GenericGroup-spam";
const NODE: &str = "6e0dd59d-660e-4d9b-b22f-0354479f47b4";

/// A connection as James has one.
pub(super) struct James {
    _connection: Connection,
    channel: Channel,
}

impl James {
    /// Connects and declares what James declares at its start.
    pub(super) async fn start(host: &VirtualHost) -> Self {
        let connection = Connection::connect(&host.amqp, ConnectionProperties::default());
        let connection = connection.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        let james = Self { _connection: connection, channel };
        james.declare().await;
        james
    }

    /// Declares exchanges, queues and bindings, as often as wanted.
    pub(super) async fn declare(&self) {
        let retries = format!("mailboxEvent-retryExchange-{GROUP}");
        for exchange in [EXCHANGE, DEAD_LETTERS, &retries] {
            let options = ExchangeDeclareOptions { durable: true, ..Default::default() };
            let declared = self.channel.exchange_declare(
                exchange.into(),
                ExchangeKind::Direct,
                options,
                FieldTable::default(),
            );
            declared.await.unwrap();
        }
        let mut work = FieldTable::default();
        work.insert("x-queue-version".into(), AMQPValue::LongInt(2));
        let plain = work.clone();
        work.insert("x-dead-letter-exchange".into(), AMQPValue::LongString(DEAD_LETTERS.into()));
        let of_group = format!("mailboxEvent-workQueue-{GROUP}");
        let notifications = format!("mailboxEvent-eventbus-{NODE}");
        for (queue, arguments, exchange, key) in [
            ("mailboxEvent-dead-letter-queue", &plain, DEAD_LETTERS, ""),
            (SHARED, &work, EXCHANGE, ""),
            (&of_group, &work, &retries, ""),
            (&notifications, &plain, EXCHANGE, "MailboxIdRegistrationKey:18"),
        ] {
            let options = QueueDeclareOptions { durable: true, ..Default::default() };
            self.channel.queue_declare(queue.into(), options, arguments.clone()).await.unwrap();
            let bound = self.channel.queue_bind(
                queue.into(),
                exchange.into(),
                key.into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            );
            bound.await.unwrap();
        }
    }

    /// Deletes the main exchange, and with it every binding of it.
    pub(super) async fn delete_exchange(&self) {
        let options = ExchangeDeleteOptions::default();
        self.channel.exchange_delete(EXCHANGE.into(), options).await.unwrap();
    }

    /// Publishes to the groups, confirmed.
    pub(super) async fn publish(&self, body: &str) {
        let mut headers = FieldTable::default();
        headers.insert("eventBusId".into(), AMQPValue::LongString(NODE.into()));
        let properties = BasicProperties::default()
            .with_content_type("text/plain".into())
            .with_delivery_mode(2)
            .with_priority(0)
            .with_headers(headers);
        let options = BasicPublishOptions::default();
        let sent = self.channel.basic_publish(
            EXCHANGE.into(),
            "".into(),
            options,
            body.as_bytes(),
            properties,
        );
        sent.await.unwrap().await.unwrap();
    }

    /// How many events wait in the queue that James's nodes share.
    pub(super) async fn waiting(&self) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..Default::default() };
        let queue = self.channel.queue_declare(SHARED.into(), options, FieldTable::default());
        queue.await.unwrap().message_count()
    }
}

/// Everything on the virtual host that is not ours, as the management API exports it.
pub(super) async fn definitions(host: &VirtualHost) -> Vec<String> {
    let all = host.api(Method::GET, &format!("definitions/{}", host.name), None).await;
    let text = |object: &Value, name: &str| object[name].as_str().unwrap_or_default().to_owned();
    let ours = |object: &Value| {
        ["name", "source", "destination"]
            .iter()
            .any(|name| text(object, name).starts_with("hearken."))
    };
    let mut kept = Vec::new();
    for kind in ["exchanges", "queues", "bindings", "policies"] {
        let objects = all[kind].as_array().cloned().unwrap_or_default();
        kept.extend(objects.iter().filter(|object| !ours(object)).map(|o| format!("{kind} {o}")));
    }
    kept.sort();
    assert!(kept.len() >= 9, "James has its own objects: {kept:?}");
    kept
}
