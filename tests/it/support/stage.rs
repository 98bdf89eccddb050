//! Stage of a bus test: a store, a roster, a broker that the topology follows, and nodes.
//!
//! There is one constructor per engine. A test puts listeners on the stage with [`Stage::add`] or
//! [`Stage::with`], publishes, and waits for conditions with the methods that return once the
//! condition holds.

pub(crate) mod calls;
mod consumers;
mod embedded;
pub(crate) mod keys;
pub(crate) mod letters;
mod node;
mod queues;
mod rabbitmq;
pub(crate) mod specs;
mod wire;

pub(crate) use consumers::{running, waiting};
pub(crate) use node::StageNode;
pub(crate) use wire::header;

use super::services::VirtualHost;
use hearken::{
    broker::Broker,
    bus::{EventBus, local::LocalBus},
    clock::Clock,
    domain::{
        cluster::{NodeSettings, RecordedSettings},
        command::{Command, Pending},
        desired::{Desired, desired},
        event::NodeRef,
        layout::Layout,
        listener::ListenerSpec,
        name::GroupName,
        plan,
        topology::Topology,
    },
    listeners::{built_in, webhook::policy::WebhookPolicy},
    metrics::Metrics,
    roster::{Audited, ExecuteError, RosterConfig, RosterService},
    store::Store,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
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
    async fn new(store: Store, layout: Layout, broker: Arc<dyn Broker>, engine: Engine) -> Self {
        let roster = roster(SOLO, &store, &layout).await;
        let (applied, database) = (Mutex::default(), None);
        Self { store, roster, layout, broker, applied, engine, database, _folder: None }
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

    /// The buses of two nodes, or the one bus of the process twice.
    pub(crate) fn pair(&self) -> [Arc<dyn EventBus>; 2] {
        match &self.engine {
            Engine::RabbitMq(_) => [Arc::new(self.bus("n1")), Arc::new(self.bus("n2"))],
            Engine::Embedded(bus) => [bus.clone(), bus.clone()],
        }
    }
}

/// The layout of the store's cluster, with our prefix.
fn laid_out(layout: &Layout, store: &Store) -> Layout {
    let prefix = match layout.prefix.as_str() {
        "" => "hearken".to_owned(),
        given => given.to_owned(),
    };
    Layout { prefix, cluster: store.cluster_id(), ..layout.clone() }
}

/// The roster of a node, as the store has it now.
async fn roster(node: &str, store: &Store, layout: &Layout) -> Arc<RosterService> {
    let config = RosterConfig {
        node: NodeRef { id: node.to_owned(), host: "here".to_owned() },
        catalog: built_in(WebhookPolicy::default(), Clock::system()),
        required: BTreeMap::new(),
        buses: Vec::new(),
        founding: RecordedSettings::default(),
        own_settings: NodeSettings::default(),
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
