//! A stage on RabbitMQ.

use super::{Engine, SOLO, Stage, laid_out, specs::bus, store};
use crate::support::{
    bus::only,
    services::{self, VirtualHost, virtual_host},
};
use hearken::{
    amqp::AmqpUrl,
    broker::rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    bus::rabbitmq::{DiscardNothing, RabbitMqBus, RabbitMqBusConfig},
    clock::Clock,
    domain::layout::Layout,
    store::Store,
};
use std::{sync::Arc, time::Duration};

impl Stage {
    /// A virtual host of its own on the shared RabbitMQ, with the topology of two buses.
    pub(crate) async fn rabbitmq() -> Self {
        Self::rabbitmq_laid_out(&Layout::default()).await
    }

    /// RabbitMQ with another layout. The prefix is `hearken` unless the layout has one.
    pub(crate) async fn rabbitmq_laid_out(layout: &Layout) -> Self {
        let (folder, store) = store().await;
        let stage = Self::on_rabbitmq(store, layout).await;
        stage.converge().await;
        Self { _folder: Some(folder), ..stage }
    }

    /// RabbitMQ with an empty virtual host.
    pub(crate) async fn bare_rabbitmq() -> Self {
        let (folder, store) = store().await;
        Self { _folder: Some(folder), ..Self::on_rabbitmq(store, &Layout::default()).await }
    }

    /// A virtual host and a PostgreSQL database of its own.
    pub(crate) async fn cluster() -> Self {
        let database = services::database().await;
        let store = Store::postgres(&database).await.unwrap();
        let stage = Self::on_rabbitmq(store, &Layout::default()).await;
        stage.converge().await;
        Self { database: Some(database), ..stage }
    }

    async fn on_rabbitmq(store: Store, layout: &Layout) -> Self {
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
    pub(super) fn bus_keeping(&self, node: &str, amqp: &str, store: &Store) -> RabbitMqBus {
        let (amqp_url, store) = (AmqpUrl::parse(amqp).unwrap(), store.clone());
        RabbitMqBus::new(RabbitMqBusConfig { amqp_url, store, ..self.config(node) })
    }

    /// A node's bus that collects what is parked.
    pub(crate) fn collector(&self, node: &str) -> RabbitMqBus {
        let collector = self.bus(node);
        collector.set_buses(&only(bus()));
        collector
    }
}
