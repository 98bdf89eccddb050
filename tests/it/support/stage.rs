//! Stage of a bus test: a store, a roster, a broker that the topology follows, and nodes.
//!
//! There is one constructor per engine. A test puts listeners on the stage with [`Stage::add`] or
//! [`Stage::with`], publishes, and waits for conditions with the methods that return once the
//! condition holds.

pub(crate) mod calls;
mod consumers;
pub(crate) mod keys;
pub(crate) mod letters;
mod node;
mod queues;
pub(crate) mod specs;
mod wire;

pub(crate) use consumers::{running, waiting};
pub(crate) use node::StageNode;
pub(crate) use wire::header;

use super::{
    bus::{only, plain},
    services::{self, VirtualHost, virtual_host},
};
use hearken::{
    amqp::AmqpUrl,
    broker::{
        Broker,
        local::LocalBroker,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    bus::{
        EventBus,
        local::{LocalBus, LocalBusConfig},
        rabbitmq::{DiscardNothing, RabbitMqBus, RabbitMqBusConfig},
    },
    clock::Clock,
    domain::{
        command::{Command, Pending},
        desired::{Desired, desired},
        event::NodeRef,
        layout::{Flavor, Layout},
        listener::ListenerSpec,
        name::GroupName,
        plan,
        topology::Topology,
    },
    listeners::{built_in, webhook::policy::WebhookPolicy},
    metrics::Metrics,
    roster::{Audited, ExecuteError, RosterConfig, RosterService},
    store::{Store, embedded::Occupancy},
};
use specs::{bus, other_bus};
use std::{collections::BTreeSet, path::Path, sync::Arc, time::Duration};
use tempfile::TempDir;
use tokio::sync::Mutex;

/// Time that the work under way may take to end.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Name of the stage's own node.
const SOLO: &str = "solo";

/// Engine that carries the events.
enum Engine {
    RabbitMq(VirtualHost),
    /// One bus in this process, so every node of the stage is the same node.
    Embedded(Arc<LocalBus>),
}

/// What a test of buses stands on.
pub(crate) struct Stage {
    pub(crate) store: Store,
    pub(crate) roster: Arc<RosterService>,
    pub(crate) layout: Layout,
    pub(crate) broker: Arc<dyn Broker>,
    applied: Mutex<Desired>,
    engine: Engine,
    /// URL of the cluster's PostgreSQL database; absent for a stage with a store of its own.
    database: Option<String>,
    _folder: Option<TempDir>,
}

impl Stage {
    /// A virtual host of its own on the shared RabbitMQ, with the topology of two buses.
    pub(crate) async fn rabbitmq() -> Self {
        Self::rabbitmq_laid_out(Layout::default()).await
    }

    /// RabbitMQ with another layout. The prefix is `hearken` unless the layout has one.
    pub(crate) async fn rabbitmq_laid_out(layout: Layout) -> Self {
        let (folder, store) = store().await;
        let stage = Self::on_rabbitmq(store, layout).await;
        stage.converge().await;
        Self { _folder: Some(folder), ..stage }
    }

    /// RabbitMQ with an empty virtual host.
    pub(crate) async fn bare_rabbitmq() -> Self {
        let (folder, store) = store().await;
        Self { _folder: Some(folder), ..Self::on_rabbitmq(store, Layout::default()).await }
    }

    /// A virtual host and a PostgreSQL database of its own.
    pub(crate) async fn cluster() -> Self {
        let database = services::database().await;
        let store = Store::postgres(&database).await.unwrap();
        let stage = Self::on_rabbitmq(store, Layout::default()).await;
        stage.converge().await;
        Self { database: Some(database), ..stage }
    }

    /// The bus and the broker of one process, with the topology of two buses.
    pub(crate) async fn embedded() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let stage = Self::embedded_in(folder.path()).await;
        stage.converge().await;
        Self { _folder: Some(folder), ..stage }
    }

    /// The bus and the broker of one process, with what its data directory holds.
    pub(crate) async fn embedded_in(folder: &Path) -> Self {
        let store = Store::sqlite(folder).await.unwrap();
        let layout = laid_out(Layout { flavor: Flavor::Local, ..Layout::default() }, &store);
        let occupancy = Occupancy::default();
        let embedded = store.embedded().unwrap();
        let broker = LocalBroker::new(embedded.clone(), layout.clone(), occupancy.clone());
        let bus = LocalBus::new(LocalBusConfig {
            store: embedded,
            layout: layout.clone(),
            occupancy,
            node: SOLO.into(),
            metrics: Arc::default(),
            clock: Clock::system(),
        });
        Self::new(store, layout, Arc::new(broker), Engine::Embedded(Arc::new(bus))).await
    }

    async fn on_rabbitmq(store: Store, layout: Layout) -> Self {
        let host = virtual_host().await;
        let layout = laid_out(layout, &store);
        let broker = RabbitMqBroker::new(RabbitMqConfig {
            amqp_url: AmqpUrl::parse(&host.amqp).unwrap(),
            management_url: Some(host.management.clone()),
            layout: layout.clone(),
            node: SOLO.into(),
        });
        Self::new(store, layout, Arc::new(broker.unwrap()), Engine::RabbitMq(host)).await
    }

    async fn new(store: Store, layout: Layout, broker: Arc<dyn Broker>, engine: Engine) -> Self {
        let roster = roster(SOLO, &store, &layout).await;
        let (applied, database) = (Mutex::default(), None);
        Self { store, roster, layout, broker, applied, engine, database, _folder: None }
    }

    /// Ends the process of an embedded stage, so that another may open its data directory.
    pub(crate) async fn close(self) {
        self.local().close().await;
        self.store.close().await;
    }

    /// Makes the broker hold what the roster wants.
    pub(crate) async fn converge(&self) {
        let roster = self.roster.current().await.unwrap();
        let wanted = desired(&self.layout, &self.roster.buses(), &roster, &BTreeSet::new());
        let mut applied = self.applied.lock().await;
        for step in plan::between(&applied, &wanted).steps {
            self.apply(step.action).await;
        }
        *applied = wanted;
    }

    /// Declares and binds everything again that the roster wants.
    pub(crate) async fn redeclare(&self) {
        *self.applied.lock().await = Desired::default();
        self.converge().await;
    }

    /// Applies one action. Returns how many events it destroyed.
    pub(crate) async fn apply(&self, action: plan::Action) -> u64 {
        let outcome = self.broker.apply(&action).await;
        outcome.unwrap_or_else(|error| panic!("{action:?}: {error}"))
    }

    /// Executes a command of an administrator.
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

    /// Adds listeners to the roster alone: the topology does not follow.
    pub(crate) async fn enroll<const N: usize>(&self, listeners: [&ListenerSpec; N]) {
        for listener in listeners {
            self.command(Command::AddListener(listener.clone())).await.unwrap();
        }
    }

    /// Adds listeners and makes the topology follow.
    pub(crate) async fn add<const N: usize>(&self, listeners: [&ListenerSpec; N]) {
        self.enroll(listeners).await;
        self.converge().await;
    }

    /// The stage with these listeners added.
    pub(crate) async fn with<const N: usize>(self, listeners: [&ListenerSpec; N]) -> Self {
        self.add(listeners).await;
        self
    }

    /// Removes a group and makes the topology follow.
    pub(crate) async fn remove(&self, group: &str, pending: Pending) {
        let group = GroupName::parse(group).unwrap();
        self.command(Command::RemoveListener { group, pending }).await.unwrap();
        self.converge().await;
    }

    /// Topology that was applied last.
    pub(crate) async fn wanted(&self) -> Topology {
        self.applied.lock().await.topology.clone()
    }

    /// Number of events at which counting and locking mistakes show. The embedded bus writes each
    /// of them to disk twice, one after another.
    pub(crate) fn many(&self) -> usize {
        match &self.engine {
            Engine::RabbitMq(_) => 5_000,
            Engine::Embedded(_) => 500,
        }
    }

    /// The virtual host of a stage on RabbitMQ.
    pub(crate) fn host(&self) -> &VirtualHost {
        match &self.engine {
            Engine::RabbitMq(host) => host,
            Engine::Embedded(_) => panic!("an embedded stage has no virtual host"),
        }
    }

    /// URL of the cluster's database.
    pub(crate) fn database(&self) -> &str {
        self.database.as_deref().expect("the stage is a cluster")
    }

    /// The bus of an embedded stage.
    pub(crate) fn local(&self) -> Arc<LocalBus> {
        match &self.engine {
            Engine::Embedded(bus) => Arc::clone(bus),
            Engine::RabbitMq(_) => panic!("a stage on RabbitMQ has no bus of its own"),
        }
    }

    /// What a node's bus over RabbitMQ needs to know.
    pub(crate) fn config(&self, node: &str) -> RabbitMqBusConfig {
        RabbitMqBusConfig {
            amqp_url: AmqpUrl::parse(&self.host().amqp).unwrap(),
            layout: self.layout.clone(),
            node: node.into(),
            store: self.store.clone(),
            collect_every: Duration::from_millis(50),
            discards: Arc::new(DiscardNothing),
            metrics: Arc::default(),
            clock: Clock::system(),
        }
    }

    /// A node's bus over RabbitMQ. It listens to no bus and collects nothing until it is told to.
    pub(crate) fn bus(&self, node: &str) -> RabbitMqBus {
        RabbitMqBus::new(self.config(node))
    }

    /// A node's bus that reaches RabbitMQ by another URL.
    pub(crate) fn bus_at(&self, node: &str, amqp: &str) -> RabbitMqBus {
        self.bus_keeping(node, amqp, &self.store)
    }

    /// A node's bus that keeps what is given up in another store.
    fn bus_keeping(&self, node: &str, amqp: &str, store: &Store) -> RabbitMqBus {
        let (amqp_url, store) = (AmqpUrl::parse(amqp).unwrap(), store.clone());
        RabbitMqBus::new(RabbitMqBusConfig { amqp_url, store, ..self.config(node) })
    }

    /// A node's bus that collects what is parked.
    pub(crate) fn collector(&self, node: &str) -> RabbitMqBus {
        let collector = self.bus(node);
        collector.set_buses(&only(bus()));
        collector
    }

    /// The buses of two nodes, or the one bus of the process twice.
    pub(crate) fn pair(&self) -> [Arc<dyn EventBus>; 2] {
        match &self.engine {
            Engine::RabbitMq(_) => [Arc::new(self.bus("n1")), Arc::new(self.bus("n2"))],
            Engine::Embedded(bus) => [bus.clone(), bus.clone()],
        }
    }
}

/// The layout of the store's cluster, with our prefix.
fn laid_out(layout: Layout, store: &Store) -> Layout {
    let prefix = match layout.prefix.as_str() {
        "" => "hearken".to_owned(),
        given => given.to_owned(),
    };
    Layout { prefix, cluster: store.cluster_id(), ..layout }
}

/// The roster of a node, as the store has it now.
async fn roster(node: &str, store: &Store, layout: &Layout) -> Arc<RosterService> {
    let config = RosterConfig {
        node: NodeRef { id: node.to_owned(), host: "here".to_owned() },
        catalog: built_in(WebhookPolicy::default(), Clock::system()),
        required: BTreeSet::new(),
        buses: [bus(), other_bus()].map(|name| (name.clone(), plain(&name))).into(),
        layout: layout.clone(),
        clock: Clock::system(),
    };
    let roster = RosterService::new(store.clone(), config, Arc::new(Metrics::default()));
    roster.current().await.unwrap();
    Arc::new(roster)
}

/// A store in a directory of its own.
pub(crate) async fn store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::sqlite(folder.path()).await.unwrap();
    (folder, store)
}
