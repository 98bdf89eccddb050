//! The embedded broker. Its exchanges, queues and bindings are rows of the store.

use super::{Broker, BrokerError, Marker};
use crate::{
    domain::{depth::Depth, layout::Layout, plan::Action, topology::Topology},
    store::{
        StoreError,
        embedded::{Embedded, LocalError, Occupancy, QueueUse},
    },
};
use async_trait::async_trait;
use std::{collections::BTreeMap, time::Duration};

/// The broker of a single node. No other process can change its objects, and it is out of reach
/// only while its store is.
pub struct LocalBroker {
    store: Embedded,
    layout: Layout,
    occupancy: Occupancy,
}

impl LocalBroker {
    /// A broker over the embedded store. `occupancy` is shared with the local bus, whose consumers
    /// it counts.
    #[must_use]
    pub fn new(store: Embedded, layout: Layout, occupancy: Occupancy) -> Self {
        Self { store, layout, occupancy }
    }
}

#[async_trait]
impl Broker for LocalBroker {
    async fn marker(&self) -> Result<Marker, BrokerError> {
        let topology = self.observe().await?;
        Ok(Marker::read(topology.exchanges.get(&self.layout.marker())))
    }

    async fn observe(&self) -> Result<Topology, BrokerError> {
        self.store.topology().await.map_err(|error| away("reading the topology", error))
    }

    async fn depth(&self, queue: &str) -> Result<Option<Depth>, BrokerError> {
        let held = self.store.depth(queue).await;
        let held = held.map_err(|error| away(&format!("counting queue {queue}"), error))?;
        let QueueUse { consumers, claimed: unacked } = self.occupancy.usage(queue);
        Ok(held.map(|held| Depth { ready: held.saturating_sub(unacked), unacked, consumers }))
    }

    async fn depths(&self) -> Result<BTreeMap<String, Depth>, BrokerError> {
        let held = self.store.depths().await;
        let held = held.map_err(|error| away("counting the queues", error))?;
        let depths = held.into_iter().map(|(queue, held)| {
            let QueueUse { consumers, claimed: unacked } = self.occupancy.usage(&queue);
            let ready = held.saturating_sub(unacked);
            (queue, Depth { ready, unacked, consumers })
        });
        Ok(depths.collect())
    }

    async fn ready(&self, queue: &str) -> Result<Option<u64>, BrokerError> {
        Ok(self.depth(queue).await?.map(|depth| depth.ready))
    }

    async fn oldest(&self, queue: &str) -> Result<Option<Duration>, BrokerError> {
        let oldest = self.store.oldest(queue).await;
        oldest.map_err(|error| away(&format!("reading the age of queue {queue}"), error))
    }

    async fn apply(&self, action: &Action) -> Result<u64, BrokerError> {
        let what = format!("{} {}", action.verb(), action.name());
        match self.store.apply(action).await {
            Ok(destroyed) => Ok(destroyed),
            Err(LocalError::Store(error)) => Err(away(&what, error)),
            Err(LocalError::NoExchange(name)) => {
                Err(BrokerError::Missing(format!("exchange {name}, so it cannot {what}")))
            }
            Err(LocalError::NoQueue(name)) => {
                Err(BrokerError::Missing(format!("queue {name}, so it cannot {what}")))
            }
            Err(refused) => Err(BrokerError::Refused { what, reply: refused.to_string() }),
        }
    }

    async fn version(&self) -> Result<String, BrokerError> {
        Ok(concat!("embedded ", env!("CARGO_PKG_VERSION")).to_owned())
    }
}

fn away(what: &str, error: StoreError) -> BrokerError {
    BrokerError::Unreachable { what: what.to_owned(), source: Some(Box::new(error)) }
}
