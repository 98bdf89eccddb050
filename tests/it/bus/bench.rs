//! What a test of the contract stands on: a roster, a topology that follows it, and nodes.

mod node;

pub(crate) use node::{Node, established, running};

use super::calls::Calls;
pub(crate) use crate::support::bus::event;
use crate::support::{
    bus::plain,
    services::{VirtualHost, virtual_host},
    wait,
};
use futures_util::{FutureExt as _, future::ready};
use hearken::{
    amqp::AmqpUrl,
    broker::{
        Broker,
        local::LocalBroker,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    bus::{
        Consumer, Consumption, EventBus,
        codec::{CLOUDEVENTS_JSON, encode_cloudevent},
        event::Event,
        local::LocalBus,
        rabbitmq::{RabbitMqBus, RabbitMqBusConfig},
    },
    dispatch::Dispatcher,
    domain::{
        command::{Command, Pending},
        dead_letter::DeadLetter,
        desired::{Desired, desired},
        event::NodeRef,
        layout::{Flavor, Layout},
        listener::ListenerSpec,
        name::{BusName, GroupName},
        plan,
        retry::Jitter,
        span::Span,
    },
    listeners::{built_in, webhook::policy::WebhookPolicy},
    metrics::Metrics,
    roster::{Audited, ExecuteError, RosterConfig, RosterService},
    store::embedded::Occupancy,
    store::{Store, dead_letters::DeadLetterFilter},
};
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties,
    message::BasicGetMessage,
    options::{
        BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions,
        QueueDeclareOptions,
    },
    types::FieldTable,
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::sync::Mutex;
use uuid::Uuid;

/// Over which bus.
enum Form {
    RabbitMq(VirtualHost),
    /// There is one bus in a process, so every node of the bench is this one.
    Local(Arc<LocalBus>),
}

pub(crate) struct Bench {
    pub(crate) store: Store,
    pub(crate) roster: Arc<RosterService>,
    pub(crate) layout: Layout,
    pub(crate) broker: Arc<dyn Broker>,
    applied: Mutex<Desired>,
    form: Form,
    _folder: TempDir,
}

impl Bench {
    /// A virtual host of its own on the shared RabbitMQ.
    pub(crate) async fn rabbitmq() -> Self {
        let host = virtual_host().await;
        let (folder, store) = store().await;
        let layout = Layout { cluster: store.cluster_id(), ..ours() };
        let broker = RabbitMqBroker::new(RabbitMqConfig {
            amqp_url: AmqpUrl::parse(&host.amqp).unwrap(),
            management_url: Some(host.management.clone()),
            layout: layout.clone(),
            node: "bench".into(),
        });
        let broker = Arc::new(broker.unwrap());
        Self::new(folder, store, layout, broker, Form::RabbitMq(host)).await
    }

    /// A process of its own.
    pub(crate) async fn local() -> Self {
        let (folder, store) = store().await;
        let layout = Layout { cluster: store.cluster_id(), flavor: Flavor::Local, ..ours() };
        let occupancy = Occupancy::default();
        let embedded = store.embedded().unwrap();
        let broker = LocalBroker::new(embedded.clone(), layout.clone(), occupancy.clone());
        let bus =
            Arc::new(LocalBus::new(embedded, layout.clone(), occupancy, "bench", Arc::default()));
        Self::new(folder, store, layout, Arc::new(broker), Form::Local(bus)).await
    }

    async fn new(
        folder: TempDir,
        store: Store,
        layout: Layout,
        broker: Arc<dyn Broker>,
        form: Form,
    ) -> Self {
        let here = RosterConfig {
            node: NodeRef { id: "bench".into(), host: "here".into() },
            catalog: built_in(WebhookPolicy::default()),
            required: BTreeSet::new(),
            buses: [bus(), other_bus()].map(|name| (name.clone(), plain(&name))).into(),
            layout: layout.clone(),
        };
        let roster = RosterService::new(store.clone(), here, Arc::new(Metrics::default()));
        let applied = Mutex::default();
        let roster = Arc::new(roster);
        let bench = Self { store, roster, layout, broker, applied, form, _folder: folder };
        bench.converge().await;
        bench
    }

    /// Makes the broker hold what the roster wants.
    pub(crate) async fn converge(&self) {
        let roster = self.roster.current().await.unwrap();
        let wanted = desired(&self.layout, &self.roster.buses(), &roster, &BTreeSet::new());
        let mut applied = self.applied.lock().await;
        for step in plan::between(&applied, &wanted).steps {
            let outcome = self.broker.apply(&step.action).await;
            outcome.unwrap_or_else(|error| panic!("{:?}: {error}", step.action));
        }
        *applied = wanted;
    }

    /// Forgets what was applied, so that the next [`Bench::converge`] applies everything again.
    pub(crate) async fn forget_applied(&self) {
        *self.applied.lock().await = Desired::default();
    }

    /// What an administrator asks for.
    pub(crate) async fn command(&self, command: Command) -> Result<(), ExecuteError> {
        let audited = Audited {
            actor: "test".into(),
            reason: None,
            request_id: None,
            if_match: None,
            idempotency: None,
        };
        self.roster.execute(command, audited).await.map(|_| ())
    }

    /// Adds listeners and makes the topology follow.
    pub(crate) async fn add<const N: usize>(&self, listeners: [&ListenerSpec; N]) {
        for listener in listeners {
            self.command(Command::AddListener(listener.clone())).await.unwrap();
        }
        self.converge().await;
    }

    /// Removes a group and makes the topology follow.
    pub(crate) async fn remove(&self, group: &str, pending: Pending) {
        let group = GroupName::parse(group).unwrap();
        self.command(Command::RemoveListener { group, pending }).await.unwrap();
        self.converge().await;
    }

    /// A node. In the process it is always the same.
    pub(crate) fn node(&self, name: &str) -> Node {
        self.node_keeping(name, &self.store)
    }

    /// Two nodes, or the only one.
    pub(crate) fn nodes(&self) -> Vec<Node> {
        match &self.form {
            Form::RabbitMq(_) => vec![self.node("n1"), self.node("n2")],
            Form::Local(_) => vec![self.node("n1")],
        }
    }

    /// So many events that counting and locking mistakes show. In the process each of them is
    /// written to disk twice, one after another.
    pub(crate) fn many(&self) -> usize {
        match &self.form {
            Form::RabbitMq(_) => 5_000,
            Form::Local(_) => 500,
        }
    }

    /// A node that keeps its dead letters in another store.
    pub(crate) fn node_keeping(&self, name: &str, store: &Store) -> Node {
        match &self.form {
            Form::RabbitMq(host) => self.node_at(name, &host.amqp, store),
            Form::Local(bus) => self.with(bus.clone(), store),
        }
    }

    /// A node that reaches RabbitMQ by another URL.
    pub(crate) fn node_at(&self, name: &str, amqp: &str, store: &Store) -> Node {
        let bus = RabbitMqBus::new(RabbitMqBusConfig {
            amqp_url: AmqpUrl::parse(amqp).unwrap(),
            layout: self.layout.clone(),
            node: name.into(),
            store: store.clone(),
            collect_every: Duration::from_millis(50),
            discards: Arc::new(|_| ready(false).boxed()),
            metrics: Arc::default(),
        });
        bus.set_buses(&self.roster.buses());
        self.with(Arc::new(bus), store)
    }

    fn with(&self, bus: Arc<dyn EventBus>, store: &Store) -> Node {
        let roster = Arc::clone(&self.roster);
        let dispatcher = Dispatcher::new(Arc::clone(&bus), store.clone(), roster, Arc::default());
        Node { bus, dispatcher, store: store.clone() }
    }

    /// A group's work queue.
    pub(crate) fn queue(&self, listener: &ListenerSpec) -> String {
        let roster = self.roster.known();
        let generation = roster.configured(&listener.group).map_or(1, |found| found.generation);
        self.layout.work(&listener.bus, &listener.group, generation)
    }

    /// What the broker should hold.
    pub(crate) async fn wanted(&self) -> hearken::domain::topology::Topology {
        self.applied.lock().await.topology.clone()
    }

    /// Runs a group's listener on a node.
    pub(crate) async fn run(
        &self,
        node: &Node,
        listener: &ListenerSpec,
        calls: &Arc<Calls>,
    ) -> Consumer {
        let consumption = Consumption {
            listener: listener.clone(),
            bus: plain(&listener.bus),
            queue: self.queue(listener),
            draining: false,
        };
        let consumer = node.bus.consume(consumption, calls.clone());
        running(&consumer).await;
        consumer
    }

    /// How many events wait in a group's queue, and its consumers. Over RabbitMQ unacknowledged
    /// events are not counted.
    pub(crate) async fn depth(&self, listener: &ListenerSpec) -> (u64, u64) {
        let queue = self.queue(listener);
        if let Form::Local(_) = self.form {
            let depth = self.broker.depth(&queue).await.unwrap().unwrap();
            return (depth.ready, depth.consumers);
        }
        let (_connection, channel) = self.plain().await;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asked = channel.queue_declare(queue.into(), options, FieldTable::default()).await;
        let queue = asked.unwrap();
        (queue.message_count().into(), queue.consumer_count().into())
    }

    /// Waits until so many events wait in a group's queue.
    pub(crate) async fn left_with(&self, listener: &ListenerSpec, ready: u64) {
        let what = format!("{ready} events are in the queue of group {}", listener.group);
        wait::until(&what, async || (self.depth(listener).await.0 == ready).then_some(())).await;
    }

    /// Stops a consumer once its queue is empty, so that what it was called with is all there is.
    pub(crate) async fn drained(&self, listener: &ListenerSpec, consumer: Consumer) {
        self.left_with(listener, 0).await;
        consumer.stop.stop(PATIENCE).await;
        self.left_with(listener, 0).await;
    }

    /// The virtual host.
    pub(crate) fn host(&self) -> &VirtualHost {
        match &self.form {
            Form::RabbitMq(host) => host,
            Form::Local(_) => panic!("only over RabbitMQ there is a virtual host"),
        }
    }

    /// A plain connection to RabbitMQ, as any other program has it.
    pub(crate) async fn plain(&self) -> (Connection, Channel) {
        let connecting = Connection::connect(&self.host().amqp, ConnectionProperties::default());
        let connection = connecting.await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
        (connection, channel)
    }

    /// Publishes bytes as any other program does. They must reach a queue.
    pub(crate) async fn publish_raw(&self, exchange: &str, key: &str, bodies: &[&[u8]]) {
        if let Form::Local(_) = self.form {
            for body in bodies {
                let headers = serde_json::json!({});
                let embedded = self.store.embedded().unwrap();
                let publishing = embedded.publish(exchange, key, None, &headers, body);
                assert!(!publishing.await.unwrap().is_empty());
            }
            return;
        }
        let (_connection, channel) = self.plain().await;
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        for body in bodies {
            let properties = BasicProperties::default();
            let publishing =
                channel.basic_publish(exchange.into(), key.into(), options, body, properties);
            let confirmation = publishing.await.unwrap().await.unwrap();
            assert!(confirmation.is_ack() && confirmation.take_message().is_none());
        }
    }

    /// A queue of another program, bound to an exchange of ours.
    pub(crate) async fn foreign_queue(&self, exchange: &str, key: &str) -> Foreign {
        let (connection, channel) = self.plain().await;
        let options = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
        let declared =
            channel.queue_declare("foreign".into(), options, FieldTable::default()).await;
        let name = declared.unwrap().name().clone();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        channel.queue_bind(name, exchange.into(), key.into(), options, none).await.unwrap();
        Foreign { _connection: connection, channel }
    }

    /// Cuts a group's queue off from its bus's events.
    pub(crate) async fn unbind(&self, listener: &ListenerSpec) {
        let main = self.layout.main(&listener.bus);
        let binding =
            hearken::domain::topology::Binding::of_queue(&main, &self.queue(listener), "");
        self.broker.apply(&plan::Action::Unbind(binding)).await.unwrap();
        self.forget_applied().await;
    }

    /// Every dead letter, the oldest first.
    pub(crate) async fn letters(&self) -> Vec<DeadLetter> {
        let all = DeadLetterFilter::default();
        let page = self.store.dead_letters_from(&all, 0, 10_000).await.unwrap();
        page.into_iter().map(|(_, letter)| letter).collect()
    }

    /// Waits until there are so many dead letters.
    pub(crate) async fn letters_are(&self, count: usize) -> Vec<DeadLetter> {
        let what = format!("there are {count} dead letters");
        wait::until(&what, async || {
            Some(self.letters().await).filter(|letters| letters.len() == count)
        })
        .await
    }

    /// Keeps an event as a dead letter of a group, as if it had been given up before.
    pub(crate) async fn give_up(&self, group: &str, event: &Event) -> DeadLetter {
        let letter = DeadLetter {
            id: Uuid::now_v7(),
            bus: bus(),
            group: GroupName::parse(group).unwrap(),
            origin: None,
            event_id: Some(event.id.clone()),
            event_type: Some(event.kind.clone()),
            user: event.user.clone(),
            content_type: Some(CLOUDEVENTS_JSON.into()),
            keys: BTreeSet::new(),
            cause: "it broke".into(),
            attempts: 4,
            first_failed_at: OffsetDateTime::UNIX_EPOCH,
            last_failed_at: OffsetDateTime::UNIX_EPOCH,
            node: "gone".into(),
            previous: None,
        };
        let body = encode_cloudevent(event);
        assert!(self.store.keep_dead_letter(&letter, &body).await.unwrap());
        letter
    }
}

/// A queue of another program.
pub(crate) struct Foreign {
    _connection: Connection,
    channel: Channel,
}

impl Foreign {
    /// Takes the next message, once there is one.
    pub(crate) async fn take(&self) -> BasicGetMessage {
        let options = BasicGetOptions { no_ack: true };
        wait::until("a message is in the foreign queue", async || {
            self.channel.basic_get("foreign".into(), options).await.unwrap()
        })
        .await
    }

    /// How many messages wait.
    pub(crate) async fn left(&self) -> u32 {
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let asking = self.channel.queue_declare("foreign".into(), options, FieldTable::default());
        asking.await.unwrap().message_count()
    }
}

/// How long the work under way may take to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

fn ours() -> Layout {
    Layout { prefix: "hearken".into(), ..Layout::default() }
}

/// A store of its own.
pub(crate) async fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(folder.path()).await.unwrap();
    (folder, store)
}

pub(crate) fn bus() -> BusName {
    BusName::parse("mailboxEvent").unwrap()
}

pub(crate) fn other_bus() -> BusName {
    BusName::parse("jmapEvent").unwrap()
}

pub(crate) use crate::support::bus::keys;

/// What consumes the events of an every-node listener.
pub(crate) fn everywhere(listener: &ListenerSpec) -> Consumption {
    Consumption {
        listener: listener.clone(),
        bus: plain(&listener.bus),
        queue: String::new(),
        draining: false,
    }
}

/// A listener with three retries, which come soon.
pub(crate) fn listener(group: &str) -> ListenerSpec {
    let json = serde_json::json!({"group": group, "class": "log", "bus": "mailboxEvent"});
    let mut listener: ListenerSpec = serde_json::from_value(json).unwrap();
    listener.retry.attempts = 3;
    listener.retry.first = Span::from_millis(100);
    listener.retry.max = Span::from_millis(100);
    listener.retry.jitter = Jitter::try_from(0.0).unwrap();
    listener
}

/// An event that says nothing.
pub(crate) fn noop(id: &str) -> Event {
    Event { noop: true, ..event(id) }
}
