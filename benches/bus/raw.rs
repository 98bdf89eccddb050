//! The AMQP client alone.

use crate::{CONCURRENCY, WINDOW};
use futures_util::{StreamExt, stream};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::Delivery,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinSet};

/// A connection that publishes and one that consumes.
pub(crate) struct Raw {
    consuming: Connection,
    _publishing: Connection,
    channel: Channel,
    exchange: ShortString,
}

impl Raw {
    pub(crate) async fn connect(amqp: &str, exchange: &str) -> Self {
        let connect = || Connection::connect(amqp, ConnectionProperties::default());
        let (publishing, consuming) =
            (connect().await.expect("connected"), connect().await.expect("connected"));
        let channel = publishing.create_channel().await.expect("a channel");
        channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
        Self { consuming, _publishing: publishing, channel, exchange: exchange.into() }
    }

    /// Publishes one message and waits until it is confirmed and routed.
    pub(crate) async fn publish(&self, key: &str, body: &[u8]) {
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/cloudevents+json".into());
        let confirm = self
            .channel
            .basic_publish(self.exchange.clone(), key.into(), options, body, properties)
            .await;
        let confirmation = confirm.expect("published").await.expect("confirmed");
        assert!(confirmation.is_ack() && confirmation.take_message().is_none());
    }

    /// Publishes many with a window.
    pub(crate) async fn publish_all(&self, bodies: &[Vec<u8>]) {
        stream::iter(bodies)
            .for_each_concurrent(WINDOW, async |body| self.publish("", body).await)
            .await;
    }

    /// Consumes queues, each over a channel of its own, acknowledging each event.
    pub(crate) async fn consume(&self, queues: &[String]) -> Counter {
        let mut counter = Counter::default();
        for queue in queues {
            let channel = self.consuming.create_channel().await.expect("a channel");
            channel.basic_qos(CONCURRENCY, BasicQosOptions::default()).await.expect("a prefetch");
            let options = BasicConsumeOptions::default();
            let tag = ShortString::default();
            let consumer =
                channel.basic_consume(queue.as_str().into(), tag, options, FieldTable::default());
            let mut consumer = consumer.await.expect("consumed");
            let tally = counter.tally.clone();
            counter.tasks.spawn(async move {
                while let Some(delivery) = consumer.next().await {
                    let delivery = delivery.expect("a delivery");
                    delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
                    tally.one();
                }
                drop(channel);
            });
        }
        counter
    }
}

impl Raw {
    /// Consumes a queue whose failures are tried again off the consumer: each body that begins with
    /// [`FAILS`] is sent to wait as a confirmed copy and acknowledged then, through one exchange
    /// after the other, and given up when it comes back from the last. Counts what did not fail,
    /// and what was given up.
    pub(crate) async fn consume_failing(
        &self,
        queue: &str,
        group: &str,
        waits: Vec<String>,
    ) -> (Counter, Counter) {
        let (mut healthy, given_up) = (Counter::default(), Counter::default());
        let channel = self.consuming.create_channel().await.expect("a channel");
        channel.basic_qos(CONCURRENCY, BasicQosOptions::default()).await.expect("a prefetch");
        let (options, tag) = (BasicConsumeOptions::default(), ShortString::default());
        let consumer = channel.basic_consume(queue.into(), tag, options, FieldTable::default());
        let mut consumer = consumer.await.expect("consumed");
        let (publishing, group) = (self.channel.clone(), group.to_owned());
        let waits = Arc::new(waits);
        let (done, gone) = (healthy.tally.clone(), given_up.tally.clone());
        healthy.tasks.spawn(async move {
            let mut hands = JoinSet::new();
            while let Some(delivery) = consumer.next().await {
                let delivery = delivery.expect("a delivery");
                let (publishing, waits) = (publishing.clone(), Arc::clone(&waits));
                let (group, done, gone) = (group.clone(), done.clone(), gone.clone());
                hands.spawn(async move {
                    if delivery.data.first() != Some(&FAILS) {
                        done.one();
                    } else if !send_on(&publishing, &waits, &group, &delivery).await {
                        gone.one();
                    }
                    delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
                });
            }
            drop(channel);
        });
        (healthy, given_up)
    }
}

/// What a body begins with that always fails.
pub(crate) const FAILS: u8 = b' ';

/// How often a copy failed.
const FAILED: &str = "failed";

/// Sends a copy to its next wait, if there is one.
async fn send_on(publishing: &Channel, waits: &[String], group: &str, delivery: &Delivery) -> bool {
    let headers = delivery.properties.headers().clone().unwrap_or_default();
    let failed = match headers.inner().get(FAILED) {
        Some(AMQPValue::LongUInt(failed)) => *failed,
        _ => 0,
    };
    let Some(wait) = waits.get(failed as usize) else { return false };
    let mut headers = headers;
    headers.insert(FAILED.into(), AMQPValue::LongUInt(failed + 1));
    let properties = delivery.properties.clone().with_headers(headers);
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let confirm = publishing
        .basic_publish(wait.as_str().into(), group.into(), options, &delivery.data, properties)
        .await;
    assert!(confirm.expect("published").await.expect("confirmed").is_ack());
    true
}

/// How many raw consumers handled. Dropped, they end.
#[derive(Default)]
pub(crate) struct Counter {
    tally: Tally,
    tasks: JoinSet<()>,
}

#[derive(Clone, Default)]
struct Tally(watch::Sender<usize>);

impl Tally {
    fn one(&self) {
        self.0.send_modify(|count| *count += 1);
    }
}

impl Counter {
    /// Waits until so many were handled.
    pub(crate) async fn reach(&self, count: usize) {
        let mut tally = self.tally.0.subscribe();
        let reached = tally.wait_for(|handled| *handled >= count);
        let reached = tokio::time::timeout(Duration::from_mins(3), reached).await;
        drop(reached.expect("they are handled in time").expect("the sender lives"));
    }
}
