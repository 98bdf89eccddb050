//! Dispatchers over both buses, with a roster of their own.

use crate::{
    broker::{
        contract::{bus, converge},
        rabbitmq::{broker, layout},
    },
    local_bus::scene as local,
    support::{
        bus::{keys, only, over_rabbitmq, plain},
        services::{self, VirtualHost},
        wait,
    },
};
use hearken::{
    bus::{Consumer, Consumption, EventBus, Listener, event::Event, rabbitmq::RabbitMqBus},
    dispatch::{BatchError, Dispatcher},
    domain::{
        command::Command, dead_letter::DeadLetter, event::NodeRef, layout::Layout,
        listener::ListenerSpec,
    },
    listeners::{built_in, webhook::policy::WebhookPolicy},
    metrics::Metrics,
    roster::{Audited, RosterConfig, RosterService},
    store::{Store, dead_letters::DeadLetterFilter},
};
use std::{collections::BTreeSet, path::Path, sync::Arc};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A node's dispatcher and what it works with.
pub(crate) struct Node {
    pub(crate) store: Store,
    pub(crate) roster: Arc<RosterService>,
    pub(crate) bus: Arc<dyn EventBus>,
    pub(crate) dispatcher: Dispatcher,
}

impl Node {
    async fn new(id: &str, store: Store, layout: Layout, bus: Arc<dyn EventBus>) -> Self {
        let here = RosterConfig {
            node: NodeRef { id: id.to_owned(), host: "here".to_owned() },
            catalog: built_in(WebhookPolicy::default()),
            required: BTreeSet::new(),
            buses: only(crate::broker::contract::bus()),
            layout,
        };
        let roster = RosterService::new(store.clone(), here, Arc::new(Metrics::default()));
        roster.current().await.unwrap();
        let roster = Arc::new(roster);
        let dispatcher =
            Dispatcher::new(Arc::clone(&bus), store.clone(), Arc::clone(&roster), Arc::default());
        Self { store, roster, bus, dispatcher }
    }

    pub(crate) async fn command(&self, command: Command) {
        let audited = Audited {
            actor: "test".into(),
            reason: None,
            request_id: None,
            if_match: None,
            idempotency: None,
        };
        self.roster.execute(command, audited).await.unwrap();
    }

    /// Dispatches events without keys, as one batch.
    pub(crate) async fn dispatch(&self, events: &[Event]) -> Result<(), BatchError> {
        let keyless = events.iter().map(|event| (event.clone(), keys([]))).collect();
        self.dispatcher.dispatch(&bus(), keyless).await
    }

    /// The dead letters, once there are so many.
    pub(crate) async fn letters(&self, count: usize) -> Vec<DeadLetter> {
        wait::until(&format!("there are {count} dead letters"), || async {
            let filter = DeadLetterFilter::default();
            let letters = self.store.dead_letters_from(&filter, 0, 1000).await.ok()?;
            let letters: Vec<_> = letters.into_iter().map(|(_, letter)| letter).collect();
            (letters.len() == count).then_some(letters)
        })
        .await
    }

    /// Publishes again what could not be published, until the guard is dropped.
    pub(crate) fn redispatch(&self) -> DropGuard {
        let stop = CancellationToken::new();
        tokio::spawn(self.dispatcher.clone().run(stop.clone()));
        stop.drop_guard()
    }

    pub(crate) fn consume(&self, listener: &ListenerSpec, handler: Arc<dyn Listener>) -> Consumer {
        let queue = self.roster.layout().work(&listener.bus, &listener.group, 1);
        let bus = plain(&listener.bus);
        let consumption = Consumption { listener: listener.clone(), bus, queue, draining: false };
        self.bus.consume(consumption, handler)
    }
}

/// The node of an embedded store, whose roster has these listeners and whose broker has nothing.
pub(crate) async fn embedded(folder: &Path, listeners: &[ListenerSpec]) -> (Node, local::Node) {
    let half = local::Node::open(folder).await;
    let bus: Arc<dyn EventBus> = half.bus.clone();
    let node = Node::new("solo", half.store.clone(), half.layout.clone(), bus).await;
    for listener in listeners {
        node.command(Command::AddListener(listener.clone())).await;
    }
    (node, half)
}

/// A cluster's database and its virtual host, which holds what its listeners need.
pub(crate) struct Cluster {
    pub(crate) host: VirtualHost,
    pub(crate) database: String,
    layout: Layout,
}

impl Cluster {
    pub(crate) async fn of(listeners: &[ListenerSpec]) -> Self {
        let (host, database) = (services::virtual_host().await, services::database().await);
        let store = Store::postgres(&database).await.unwrap();
        let layout = Layout { cluster: store.cluster_id(), ..layout() };
        converge(&broker(&host, &layout), &layout, listeners).await;
        let cluster = Self { host, database, layout };
        let first = cluster.node("first").await;
        for listener in listeners {
            first.command(Command::AddListener(listener.clone())).await;
        }
        store.close().await;
        cluster
    }

    pub(crate) async fn node(&self, id: &str) -> Node {
        self.node_at(id, &self.host.amqp, &self.database).await
    }

    /// A node that reaches RabbitMQ and PostgreSQL in its own way.
    pub(crate) async fn node_at(&self, id: &str, amqp: &str, database: &str) -> Node {
        let store = Store::postgres(database).await.unwrap();
        let bus = RabbitMqBus::new(over_rabbitmq(amqp, &self.layout, id, &store));
        Node::new(id, store, self.layout.clone(), Arc::new(bus)).await
    }
}
