//! The AMQP client alone.

use crate::{CONCURRENCY, WINDOW};
use futures_util::{StreamExt, stream};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    options::{
        BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
        ConfirmSelectOptions,
    },
    types::{FieldTable, ShortString},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
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
        let handled = Arc::new(AtomicUsize::new(0));
        let bell = watch::Sender::new(());
        let mut tasks = JoinSet::new();
        for queue in queues {
            let channel = self.consuming.create_channel().await.expect("a channel");
            channel.basic_qos(CONCURRENCY, BasicQosOptions::default()).await.expect("a prefetch");
            let options = BasicConsumeOptions::default();
            let tag = ShortString::default();
            let consumer =
                channel.basic_consume(queue.as_str().into(), tag, options, FieldTable::default());
            let mut consumer = consumer.await.expect("consumed");
            let (handled, bell) = (Arc::clone(&handled), bell.clone());
            tasks.spawn(async move {
                while let Some(delivery) = consumer.next().await {
                    let delivery = delivery.expect("a delivery");
                    delivery.ack(BasicAckOptions::default()).await.expect("acknowledged");
                    handled.fetch_add(1, Ordering::Relaxed);
                    bell.send_replace(());
                }
                drop(channel);
            });
        }
        Counter { handled, bell, _tasks: tasks }
    }
}

/// How many the raw consumers handled. Dropped, they end.
pub(crate) struct Counter {
    handled: Arc<AtomicUsize>,
    bell: watch::Sender<()>,
    _tasks: JoinSet<()>,
}

impl Counter {
    /// Waits until so many were handled.
    pub(crate) async fn reach(&self, count: usize) {
        let mut bell = self.bell.subscribe();
        let reached = bell.wait_for(|()| self.handled.load(Ordering::Relaxed) >= count);
        let reached = tokio::time::timeout(Duration::from_mins(3), reached).await;
        drop(reached.expect("they are handled in time").expect("the sender lives"));
    }
}
