//! Broadcasts of changes of the topology.

use super::routing_keys;
use crate::{
    bus::{
        TopologyChanged,
        rabbitmq::publishing::{Publication, Publisher},
    },
    domain::{layout::Layout, name::BusName},
};
use lapin::{BasicProperties, message::Delivery};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};

/// How long a broadcast may take. A broadcast is a hint: a node that misses it follows its timer.
const LIMIT: Duration = Duration::from_secs(5);

/// How many broadcasts are kept for a slow receiver. A receiver that missed some is told so.
const KEPT: usize = 64;

/// Broadcasts to every node, and from every node.
pub(crate) struct Broadcasts {
    publisher: Arc<Publisher>,
    layout: Layout,
    changes: broadcast::Sender<TopologyChanged>,
    starts: watch::Sender<u64>,
}

impl Broadcasts {
    /// Broadcasts through the key exchange of each bus.
    pub(crate) fn new(publisher: &Arc<Publisher>, layout: &Layout) -> Self {
        Self {
            publisher: Arc::clone(publisher),
            layout: layout.clone(),
            changes: broadcast::Sender::new(KEPT),
            starts: watch::Sender::default(),
        }
    }

    /// Broadcasts a change to every node, this node included. A failure has no effect.
    pub(crate) async fn announce(&self, change: &TopologyChanged) {
        let body = serde_json::to_vec(change).expect("names and a number are always JSON");
        let properties = BasicProperties::default().with_content_type("application/json".into());
        let message = Publication::new(routing_keys::TOPOLOGY.into(), body, properties).optional();
        let exchange = self.layout.keys(&change.bus);
        let publishing = self.publisher.publish(&exchange, message);
        let cause = match timeout(LIMIT, publishing).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than {} s", LIMIT.as_secs()),
        };
        tracing::debug!(
            bus = %change.bus,
            version = change.version,
            cause,
            "a change of the topology was not broadcast; nodes follow their timer: {cause}"
        );
    }

    /// The broadcasts that arrive on this node from now on.
    pub(crate) fn subscribe(&self) -> broadcast::Receiver<TopologyChanged> {
        self.changes.subscribe()
    }

    /// Number of times that this node began to listen. Earlier broadcasts were missed.
    pub(crate) fn starts(&self) -> watch::Receiver<u64> {
        self.starts.subscribe()
    }

    /// Notes that this node begins to listen.
    pub(super) fn started(&self) {
        self.starts.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// Hands a broadcast to the subscribers of this node.
    pub(super) fn receive(&self, bus: &BusName, message: &Delivery) {
        match serde_json::from_slice::<TopologyChanged>(&message.data) {
            // Fails when this node has no subscriber.
            Ok(change) => drop(self.changes.send(change)),
            Err(error) => {
                tracing::debug!(%error, "bus {bus} carried a topology change that cannot be read");
            }
        }
    }
}
