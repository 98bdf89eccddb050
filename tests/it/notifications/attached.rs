//! Buses whose exchange is James's.

use crate::support::{
    stage::{
        Stage,
        calls::Calls,
        header,
        keys::{follow_on, publish},
        specs::{bus, event, keys},
    },
    wait,
};
use hearken::{
    bus::{EventBus, event::Data},
    domain::{
        bus::{BusDefinition, Codec},
        listener::Mode,
    },
};
use lapin::{
    BasicProperties, Channel, Connection, ExchangeKind,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, ExchangeDeclareOptions, ExchangeDeleteOptions,
        QueueBindOptions, QueueDeclareOptions,
    },
    types::{AMQPValue, FieldTable},
};
use serde_json::value::RawValue;
use std::{sync::Arc, time::Duration};

const EXCHANGE: &str = "mailboxEvent-exchange";

/// Declares what James has: its exchange, and a queue of a node with two keys.
async fn james(stage: &Stage) -> (Connection, Channel, BusDefinition) {
    let (connection, channel) = stage.plain().await;
    let none = FieldTable::default;
    let durable = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    let direct = ExchangeKind::Direct;
    channel.exchange_declare(EXCHANGE.into(), direct, durable, none()).await.unwrap();
    let options = QueueDeclareOptions::default();
    channel.queue_declare("theirs".into(), options, none()).await.unwrap();
    for key in ["a", "b"] {
        let (queue, options) = ("theirs".into(), QueueBindOptions::default());
        channel.queue_bind(queue, EXCHANGE.into(), key.into(), options, none()).await.unwrap();
    }
    let exchange = Some(EXCHANGE.to_owned());
    let bus = BusDefinition { name: bus(), codec: Codec::James, attached: true, exchange };
    (connection, channel, bus)
}

/// Notifies of an event as James does.
async fn notify(channel: &Channel, key: &str, id: &str) {
    let mut headers = FieldTable::default();
    let sender = AMQPValue::LongString("9d6f5c1c-3c25-4b5b-8a60-6a1e63dd9aaf".into());
    headers.insert("eventBusId".into(), sender);
    let properties =
        BasicProperties::default().with_content_type("text/plain".into()).with_headers(headers);
    let body = format!(r#"{{"MailboxAdded":{{"eventId":"{id}"}}}}"#);
    let (exchange, options) = (EXCHANGE.into(), BasicPublishOptions::default());
    let confirm =
        channel.basic_publish(exchange, key.into(), options, body.as_bytes(), properties).await;
    assert!(confirm.unwrap().await.unwrap().is_ack());
}

async fn next(channel: &Channel) -> BasicGetMessage {
    wait::until("James hears of it", async || {
        channel.basic_get("theirs".into(), BasicGetOptions { no_ack: true }).await.unwrap()
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn james_gets_one_message_for_each_key_as_it_writes_them() {
    let stage = Stage::rabbitmq().await;
    let (_connection, channel, bus) = james(&stage).await;
    let node: Arc<dyn EventBus> = Arc::new(stage.bus("n1"));
    let mut event = event("1");
    let data = r#"{"Added":{"eventId":"1"}}"#.to_owned();
    event.data = Data::Json(RawValue::from_string(data).unwrap());
    publish(&node, &bus, event, keys(["a", "b"])).await;
    let mut sender = Vec::new();
    for expected in ["a", "b"] {
        let message = next(&channel).await;
        let properties = &message.delivery.properties;
        assert_eq!(message.delivery.routing_key.as_str(), expected);
        assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "text/plain");
        assert_eq!((*properties.delivery_mode(), *properties.priority()), (Some(2), Some(0)));
        assert_eq!((header(&message, "CC"), header(&message, "x-hearken-from")), (None, None));
        sender.push(header(&message, "eventBusId").unwrap().parse::<uuid::Uuid>().unwrap());
    }
    assert_eq!(sender[0], sender[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_followed_on_the_exchange_of_james() {
    let stage = Stage::rabbitmq().await;
    let (_connection, channel, bus) = james(&stage).await;
    let node: Arc<dyn EventBus> = Arc::new(stage.bus("n1"));
    let listener = Calls::follower(Mode::Async);
    let _registration = follow_on(&node, &bus, ["MailboxIdRegistrationKey:18"], &listener).await;
    notify(&channel, "MailboxIdRegistrationKey:18", "6e0dd59d-660e-4d9b-b22f-0354479f47b4").await;
    assert_eq!(listener.called(1).await, ["6e0dd59d-660e-4d9b-b22f-0354479f47b4"]);
    wait::until("its probes come back by our own exchange", async || {
        node.notifications(&bus.name).ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_followed_again_on_an_exchange_that_james_declared_again() {
    let stage = Stage::rabbitmq().await;
    let (_connection, channel, bus) = james(&stage).await;
    let node: Arc<dyn EventBus> = Arc::new(stage.bus("n1"));
    let listener = Calls::follower(Mode::Async);
    let _registration = follow_on(&node, &bus, ["k"], &listener).await;
    let options = ExchangeDeleteOptions::default();
    channel.exchange_delete(EXCHANGE.into(), options).await.unwrap();
    let _james = james(&stage).await;
    wait::within(Duration::from_mins(1), "the key is bound again", async || {
        notify(&channel, "k", "again").await;
        (!listener.order().is_empty()).then_some(())
    })
    .await;
}
