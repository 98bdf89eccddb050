//! A virtual host with a topology, buses on it, and a handler that remembers.

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
use async_trait::async_trait;
use hearken::{
    amqp::AmqpUrl,
    broker::rabbitmq::RabbitMqBroker,
    bus::{
        Consumer, ConsumerState, Consumption, EventBus, Execution, Failure, Handler,
        event::{Data, Event},
        rabbitmq::{RabbitMqBus, RabbitMqBusConfig},
    },
    domain::{layout::Layout, listener::Listener},
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

pub(crate) struct Scene {
    pub(crate) host: VirtualHost,
    pub(crate) broker: RabbitMqBroker,
    pub(crate) layout: Layout,
}

/// A virtual host that holds what these listeners need.
pub(crate) async fn scene(listeners: &[Listener]) -> Scene {
    scene_of(layout(), listeners).await
}

pub(crate) async fn scene_of(layout: Layout, listeners: &[Listener]) -> Scene {
    let host = virtual_host().await;
    let broker = broker(&host, &layout);
    converge(&broker, &layout, listeners).await;
    Scene { host, broker, layout }
}

impl Scene {
    pub(crate) fn bus(&self, node: &str) -> RabbitMqBus {
        RabbitMqBus::new(RabbitMqBusConfig {
            amqp_url: AmqpUrl::parse(&self.host.amqp).unwrap(),
            layout: self.layout.clone(),
            node: node.into(),
        })
    }

    pub(crate) fn queue(&self, listener: &Listener) -> String {
        self.layout.work(&listener.bus, &listener.group, 1)
    }

    pub(crate) fn consumption(&self, listener: &Listener) -> Consumption {
        Consumption { listener: listener.clone(), queue: self.queue(listener), draining: false }
    }

    /// Consumes, and waits until it does.
    pub(crate) async fn consume(
        &self,
        bus: &RabbitMqBus,
        listener: &Listener,
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

pub(crate) fn event(id: &str) -> Event {
    Event {
        id: id.into(),
        kind: "Added".into(),
        source: "urn:test".into(),
        user: Some("anna".into()),
        time: None,
        noop: false,
        data: Data::Json(serde_json::value::RawValue::from_string("{\"n\":1}".into()).unwrap()),
        attributes: BTreeMap::new(),
    }
}

pub(crate) fn patient() -> Duration {
    Duration::from_secs(20)
}

/// A listener whose retries come soon.
pub(crate) fn quick(group: &str) -> Listener {
    let mut listener = listener(group);
    listener.retry.max = hearken::domain::span::Span::from_millis(200);
    listener.retry.attempts = 3;
    listener
}

/// What a handler saw.
#[derive(Debug, Clone)]
pub(crate) struct Seen {
    pub(crate) id: String,
    pub(crate) attempt: u32,
    pub(crate) at: Instant,
}

type Rule = Box<dyn Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync>;

/// Remembers what it saw and does as it is told.
pub(crate) struct Recorder {
    seen: Mutex<Vec<Seen>>,
    rule: Rule,
    /// Executions take one of these and never give it back.
    pub(crate) gate: Semaphore,
    running: AtomicUsize,
    most: AtomicUsize,
    pub(crate) done: AtomicUsize,
}

/// Does well with every event.
pub(crate) fn recorder() -> Arc<Recorder> {
    ruled(|_, _| Ok(()))
}

pub(crate) fn ruled(
    rule: impl Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync + 'static,
) -> Arc<Recorder> {
    gated(rule, Semaphore::MAX_PERMITS)
}

/// Lets so many executions pass; more with `gate.add_permits`.
pub(crate) fn gated(
    rule: impl Fn(&Event, &Execution) -> Result<(), Failure> + Send + Sync + 'static,
    passes: usize,
) -> Arc<Recorder> {
    Arc::new(Recorder {
        seen: Mutex::default(),
        rule: Box::new(rule),
        gate: Semaphore::new(passes),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        done: AtomicUsize::new(0),
    })
}

impl Recorder {
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn ids(&self) -> Vec<String> {
        let mut ids: Vec<String> = self.seen().into_iter().map(|seen| seen.id).collect();
        ids.sort();
        ids
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn done(&self) -> usize {
        self.done.load(Ordering::SeqCst)
    }

    /// Waits until so many executions began.
    pub(crate) async fn began(&self, count: usize) -> Vec<Seen> {
        wait::until("the handler is called", async || {
            Some(self.seen()).filter(|seen| seen.len() >= count)
        })
        .await
    }
}

/// Counts an execution out however it ends.
struct Running<'a>(&'a AtomicUsize);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Handler for Recorder {
    async fn handle(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        let _running = Running(&self.running);
        self.most.fetch_max(now, Ordering::SeqCst);
        let seen = Seen { id: event.id.clone(), attempt: execution.attempt, at: Instant::now() };
        self.seen.lock().unwrap().push(seen);
        self.gate.acquire().await.unwrap().forget();
        let outcome = (self.rule)(event, execution);
        self.done.fetch_add(1, Ordering::SeqCst);
        outcome
    }
}
