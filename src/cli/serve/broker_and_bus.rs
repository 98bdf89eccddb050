//! The broker and the bus of a node: RabbitMQ in a cluster, the embedded ones without.

use crate::{
    amqp::AmqpUrl,
    broker::{
        Broker,
        local::LocalBroker,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    bus::{
        EventBus,
        local::{LocalBus, LocalBusConfig},
        rabbitmq::{COLLECT_EVERY, DiscardRule, RabbitMqBus, RabbitMqBusConfig},
    },
    clock::Clock,
    config::{self, Cluster},
    domain::name::GroupName,
    metrics::Metrics,
    roster::RosterService,
    store::{Store, embedded::Occupancy},
};
use async_trait::async_trait;
use std::sync::Arc;

/// The two ways to the queues: administration and events.
pub(super) struct BrokerAndBus {
    /// Observes and changes queues, exchanges and bindings.
    pub(super) broker: Arc<dyn Broker>,
    /// Publishes and consumes events.
    pub(super) bus: Arc<dyn EventBus>,
}

/// Makes the broker and the bus of the settings.
pub(super) fn connect(
    settings: &config::Serve,
    store: &Store,
    roster: &Arc<RosterService>,
    metrics: &Arc<Metrics>,
    clock: &Clock,
) -> anyhow::Result<BrokerAndBus> {
    match &settings.cluster {
        Some(cluster) => connect_rabbitmq(settings, cluster, store, roster, metrics, clock),
        None => Ok(embedded(settings, store, roster, metrics, clock)),
    }
}

fn embedded(
    settings: &config::Serve,
    store: &Store,
    roster: &RosterService,
    metrics: &Arc<Metrics>,
    clock: &Clock,
) -> BrokerAndBus {
    let layout = roster.layout().clone();
    let occupancy = Occupancy::default();
    let embedded = store.embedded().expect("without a cluster the store is embedded");
    let broker = LocalBroker::new(embedded.clone(), layout.clone(), occupancy.clone());
    let bus = LocalBus::new(LocalBusConfig {
        store: embedded,
        layout,
        occupancy,
        node: settings.node_id.clone(),
        metrics: Arc::clone(metrics),
        clock: clock.clone(),
    });
    BrokerAndBus { broker: Arc::new(broker), bus: Arc::new(bus) }
}

fn connect_rabbitmq(
    settings: &config::Serve,
    cluster: &Cluster,
    store: &Store,
    roster: &Arc<RosterService>,
    metrics: &Arc<Metrics>,
    clock: &Clock,
) -> anyhow::Result<BrokerAndBus> {
    let amqp_url = AmqpUrl::parse(cluster.amqp_url.expose())?;
    let layout = roster.layout().clone();
    let node = settings.node_id.clone();
    let broker = RabbitMqBroker::new(RabbitMqConfig {
        amqp_url: amqp_url.clone(),
        management_url: cluster.management_url.as_ref().map(|url| url.expose().to_owned()),
        layout: layout.clone(),
        node: node.clone(),
    })?
    .counted(Arc::clone(metrics));
    let bus = RabbitMqBus::new(RabbitMqBusConfig {
        amqp_url,
        layout,
        node,
        store: store.clone(),
        collect_every: COLLECT_EVERY,
        discards: Arc::new(DiscardByRoster(Arc::clone(roster))),
        metrics: Arc::clone(metrics),
        clock: clock.clone(),
    });
    bus.set_buses(&roster.buses());
    Ok(BrokerAndBus { broker: Arc::new(broker), bus: Arc::new(bus) })
}

/// Drops returning events of a group whose last removal discards them.
struct DiscardByRoster(Arc<RosterService>);

#[async_trait]
impl DiscardRule for DiscardByRoster {
    async fn discards(&self, group: &GroupName) -> bool {
        // While the roster cannot be read, returning events are kept.
        self.0.current().await.is_ok_and(|roster| roster.discards(group))
    }
}
