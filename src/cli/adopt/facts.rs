//! What the decision about an adoption depends on, read from the database and from the broker.

use crate::{
    amqp::AmqpUrl,
    broker::{
        Broker, Marker,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    cli::error::CliError,
    config::{Cluster, Serve},
    domain::{
        adoption::{AdoptionFacts, LiveNode, MarkerOwner},
        breaker::Blockage,
        layout::{LAYOUT_VERSION, Layout, ObjectName},
        report::NodeState,
        topology::Topology,
    },
    error_chain::error_chain,
    store::{Store, StoreError},
};
use std::collections::BTreeSet;

/// What the broker tells about its cluster.
pub(super) struct BrokerFacts {
    marker: MarkerOwner,
    /// Nodes of the cluster that the marker names, by the queues of their connections.
    connected: Vec<String>,
}

impl BrokerFacts {
    /// Facts of a node without a broker of its own.
    pub(super) fn none() -> Self {
        Self { marker: MarkerOwner::Absent, connected: Vec::new() }
    }
}

/// Reads the marker, and the nodes that are connected as nodes of its cluster.
pub(super) async fn read_broker(
    settings: &Serve,
    cluster: &Cluster,
    store: &Store,
) -> Result<BrokerFacts, CliError> {
    let failed = |error| CliError::Failed(format!("nothing was changed: {}", error_chain(&error)));
    // The prefix of the cluster holds, also where the configuration has another one.
    let founding = store.founding().await.map_err(anyhow::Error::from)?;
    let prefix = founding.map_or_else(|| settings.prefix.clone(), |found| found.settings.prefix);
    let (cluster_id, log) = (store.cluster_id(), store.log_id());
    let layout = Layout { prefix, cluster: cluster_id, log, ..Layout::default() };
    let amqp_url = AmqpUrl::parse(cluster.amqp_url.expose()).map_err(anyhow::Error::from)?;
    let management_url = cluster.management_url.as_ref().map(|url| url.expose().to_owned());
    let (node, marker) = (settings.node_id.clone(), layout.marker());
    let config = RabbitMqConfig { amqp_url, management_url, layout: layout.clone(), node };
    let broker = RabbitMqBroker::new(config).map_err(anyhow::Error::from)?;
    broker.check_undivided().await.map_err(failed)?;
    let found = match broker.marker().await.map_err(failed)? {
        Marker::Present { layout: Some(found), .. } if found > LAYOUT_VERSION => {
            let newer = Blockage::NewerLayout { marker, found, known: LAYOUT_VERSION };
            return Err(CliError::Failed(format!("nothing was changed: {newer}")));
        }
        Marker::Present { cluster: Some(found), .. } => found,
        Marker::Present { cluster: None, .. } => {
            return Ok(BrokerFacts { marker: MarkerOwner::Unreadable, connected: Vec::new() });
        }
        Marker::Absent => return Ok(BrokerFacts::none()),
    };
    let observed = broker.observe().await.map_err(failed)?;
    let connected = connected_nodes(&Layout { cluster: found, ..layout }, &observed);
    Ok(BrokerFacts { marker: MarkerOwner::Cluster(found), connected })
}

/// Ids of the nodes that have a queue of their own for a connection. The broker deletes such a
/// queue with the connection.
fn connected_nodes(layout: &Layout, observed: &Topology) -> Vec<String> {
    let queues = observed.queues.values().filter(|queue| layout.is_node_queue(queue));
    let nodes = queues.filter_map(|queue| match layout.read(&queue.name)? {
        ObjectName::Node { node, .. } => Some(node),
        _ => None,
    });
    nodes.collect::<BTreeSet<_>>().into_iter().collect()
}

/// Reads the identity, the end of the log, and the nodes that live.
pub(super) async fn read_store(
    store: &Store,
    broker: BrokerFacts,
) -> Result<AdoptionFacts, CliError> {
    let BrokerFacts { marker, connected } = broker;
    let reading = async {
        let nodes = store.nodes().await?.into_iter();
        let live = nodes.filter(|node| node.state != NodeState::Gone);
        Ok::<_, StoreError>(AdoptionFacts {
            former: store.identity(),
            head: store.head().await?,
            marker_made: store.marker_made().await?,
            nodes: live
                .map(|node| LiveNode { id: node.id, version: node.roster_version })
                .collect(),
            marker,
            connected,
        })
    };
    Ok(reading.await.map_err(anyhow::Error::from)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{name::BusName, topology::Queue};
    use uuid::Uuid;

    #[test]
    fn connected_nodes_are_those_of_the_cluster_that_the_marker_names() {
        let layout = |cluster| Layout {
            prefix: "hearken".into(),
            cluster: Uuid::from_u128(cluster),
            ..Layout::default()
        };
        let bus = BusName::parse("mailboxEvent").unwrap();
        let mut observed = Topology::default();
        for (cluster, node) in [(1, "one"), (1, "one"), (2, "two")] {
            let layout = layout(cluster);
            let name = layout.node_queue(&bus, node, Uuid::new_v4());
            let queue = Queue { exclusive: true, ..layout.wait_queue(&bus, 100) };
            observed.add_queue(Queue { name, ..queue });
        }
        assert_eq!(connected_nodes(&layout(1), &observed), ["one"]);
        assert_eq!(connected_nodes(&layout(2), &observed), ["two"]);
        assert!(connected_nodes(&layout(3), &observed).is_empty());
    }
}
