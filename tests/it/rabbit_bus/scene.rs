//! A virtual host with a topology, and buses on it.

pub(crate) use super::recorder::{Recorder, gated, recorder, ruled};
pub(crate) use crate::support::bus::event;

use crate::support::bus::{only, plain};
use crate::{
    broker::{
        contract::{bus, converge, listener},
        rabbitmq::{broker, layout},
    },
    support::{
        services::{VirtualHost, virtual_host},
        wait,
    },
};
use futures_util::{FutureExt as _, future::ready};
use hearken::{
    amqp::AmqpUrl,
    broker::rabbitmq::RabbitMqBroker,
    bus::{
        Consumer, ConsumerState, Consumption, EventBus,
        rabbitmq::{RabbitMqBus, RabbitMqBusConfig},
    },
    domain::{dead_letter::DeadLetter, layout::Layout, listener::ListenerSpec},
    store::{Store, dead_letters::DeadLetterFilter},
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use std::{sync::Arc, time::Duration};

pub(crate) struct Scene {
    pub(crate) host: VirtualHost,
    pub(crate) broker: RabbitMqBroker,
    pub(crate) layout: Layout,
    pub(crate) store: Store,
}

/// A virtual host that holds what these listeners need.
pub(crate) async fn scene(listeners: &[ListenerSpec]) -> Scene {
    scene_of(layout(), listeners).await
}

pub(crate) async fn scene_of(layout: Layout, listeners: &[ListenerSpec]) -> Scene {
    let host = virtual_host().await;
    let broker = broker(&host, &layout);
    converge(&broker, &layout, listeners).await;
    let store = store().await;
    Scene { host, broker, layout, store }
}

/// A store of its own.
pub(crate) async fn store() -> Store {
    let folder = tempfile::tempdir().unwrap().keep();
    Store::sqlite(&folder).await.unwrap()
}

impl Scene {
    pub(crate) fn config(&self, node: &str) -> RabbitMqBusConfig {
        RabbitMqBusConfig {
            amqp_url: AmqpUrl::parse(&self.host.amqp).unwrap(),
            layout: self.layout.clone(),
            node: node.into(),
            store: self.store.clone(),
            collect_every: Duration::from_millis(200),
            discards: Arc::new(|_| ready(false).boxed()),
            metrics: Arc::default(),
        }
    }

    pub(crate) fn bus(&self, node: &str) -> RabbitMqBus {
        RabbitMqBus::new(self.config(node))
    }

    /// A node that collects what is parked.
    pub(crate) fn collector(&self, node: &str) -> RabbitMqBus {
        let node = self.bus(node);
        node.set_buses(&only(bus()));
        node
    }

    /// The dead letters that are kept, oldest first.
    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        let all = DeadLetterFilter::default();
        let letters = self.store.dead_letters_from(&all, 0, 100_000).await.unwrap();
        letters.into_iter().map(|(_, letter)| letter).collect()
    }

    /// Waits until so many dead letters are kept.
    pub(crate) async fn kept(&self, count: usize) -> Vec<DeadLetter> {
        wait::until("the dead letters are kept", async || {
            let all = DeadLetterFilter::default();
            let letters = self.store.dead_letters_from(&all, 0, 100_000).await.ok()?;
            (letters.len() >= count).then_some(())
        })
        .await;
        self.letters().await
    }

    /// Waits until a queue holds nothing.
    pub(crate) async fn emptied(&self, queue: &str) {
        wait::until("the queue is empty", async || (self.count(queue).await.0 == 0).then_some(()))
            .await;
    }

    pub(crate) fn queue(&self, listener: &ListenerSpec) -> String {
        self.layout.work(&listener.bus, &listener.group, 1)
    }

    pub(crate) fn consumption(&self, listener: &ListenerSpec) -> Consumption {
        Consumption {
            listener: listener.clone(),
            bus: plain(&listener.bus),
            queue: self.queue(listener),
            draining: false,
        }
    }

    /// Consumes, and waits until it does.
    pub(crate) async fn consume(
        &self,
        bus: &RabbitMqBus,
        listener: &ListenerSpec,
        handler: Arc<Recorder>,
    ) -> Consumer {
        let consumer = bus.consume(self.consumption(listener), handler);
        running(&consumer).await;
        consumer
    }

    /// What a queue holds by the broker's own count: events that wait, and consumers.
    pub(crate) async fn count(&self, queue: &str) -> (u32, u32) {
        let (_connection, channel) = self.plain().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let queue =
            channel.queue_declare(queue.into(), options, FieldTable::default()).await.unwrap();
        (queue.message_count(), queue.consumer_count())
    }

    /// A plain connection, as any other program has it.
    pub(crate) async fn plain(&self) -> (Connection, Channel) {
        let connection =
            Connection::connect(&self.host.amqp, ConnectionProperties::default()).await;
        let connection = connection.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    }

    /// Publishes to the main exchange as any other program does.
    pub(crate) async fn publish(&self, body: &[u8], properties: BasicProperties) {
        let (_connection, channel) = self.plain().await;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let main = self.layout.main(&bus()).into();
        let confirm = channel.basic_publish(main, "".into(), options, body, properties).await;
        let confirmation = confirm.unwrap().await.unwrap();
        assert!(confirmation.is_ack() && confirmation.take_message().is_none());
    }

    /// Takes the next event out of a queue, once there is one.
    pub(crate) async fn take(&self, queue: &str) -> BasicGetMessage {
        let (_connection, channel) = self.plain().await;
        let options = BasicGetOptions { no_ack: true };
        wait::until("an event is in the queue", async || {
            channel.basic_get(queue.into(), options).await.unwrap()
        })
        .await
    }
}

/// A header of a message, as text.
pub(crate) fn header(message: &BasicGetMessage, name: &str) -> Option<String> {
    match message.delivery.properties.headers().as_ref()?.inner().get(name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        other => Some(format!("{other:?}")),
    }
}

pub(crate) async fn running(consumer: &Consumer) {
    let mut state = consumer.state.clone();
    let runs = state.wait_for(|state| *state == ConsumerState::Running);
    tokio::time::timeout(Duration::from_secs(30), runs).await.expect("it runs").unwrap();
}

/// Waits until a consumer waits, and returns why.
pub(crate) async fn waiting(consumer: &Consumer, because: &str) -> String {
    let mut state = consumer.state.clone();
    let waits = state.wait_for(
        |state| matches!(state, ConsumerState::Waiting(cause) if cause.contains(because)),
    );
    let state = tokio::time::timeout(Duration::from_secs(30), waits).await.expect("it waits");
    match &*state.unwrap() {
        ConsumerState::Waiting(cause) => cause.clone(),
        ConsumerState::Running => unreachable!("it waits"),
    }
}

pub(crate) fn patient() -> Duration {
    Duration::from_secs(20)
}

/// A listener whose retries come soon.
pub(crate) fn quick(group: &str) -> ListenerSpec {
    let mut listener = listener(group);
    listener.retry.max = hearken::domain::span::Span::from_millis(200);
    listener.retry.attempts = 3;
    listener
}
