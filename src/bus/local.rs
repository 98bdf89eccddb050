//! The bus within one process, with its work queues in the embedded store.
//!
//! # Guarantees
//! An event is in the store before [`LocalBus::publish`] returns, one delivery for each work queue,
//! in one transaction. A delivery leaves the store only after its listener succeeded, or in one
//! transaction with its dead letter. So a process that is killed at any moment loses no delivery
//! and runs unfinished deliveries again. Only the memory of the process ([`Occupancy`]) knows which
//! deliveries run now: in a new process no delivery runs.
//!
//! # How consumers wake
//! A consumer reads its queue, then waits for the first of these: the bell of its bus, the end of
//! an execution, the time at which a postponed delivery is due, or a slow poll, which repairs a
//! missed bell.

mod consume;
mod ending;
mod every_node;
mod queue;
mod settle;
mod waiting;

use super::{
    BusUnreachable, Consumer, ConsumerState, Consumption, DispatchError, EventBus, KeyListener,
    Listener, NotificationFault, Outgoing, Redelivery, Registration, TopologyChanged,
    codec::{self, Encoded},
    event::Event,
    registry::{Audience, InlineListeners, Meter, Registry},
};
use crate::{
    background::spawn,
    clock::Clock,
    domain::{
        bus::{BusDefinition, Buses, Codec},
        layout::Layout,
        listener::Mode,
        name::{BusName, RegistrationKey},
    },
    metrics::Metrics,
    store::embedded::{Embedded, LocalError, Occupancy},
};
use async_trait::async_trait;
use ending::Ending;
use parking_lot::Mutex;
use queue::LocalQueue;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use tokio::sync::{broadcast, watch};
use waiting::{LentPlaces, Waiting};

/// Number of events that may wait for an asynchronous every-node listener. The oldest are lost to
/// the listener when there are more.
const BEHIND: usize = 1024;

/// Parts that a [`LocalBus`] is made from.
pub struct LocalBusConfig {
    /// The embedded store, which holds the work queues.
    pub store: Embedded,
    /// The names of exchanges and queues.
    pub layout: Layout,
    /// The register of consumers and running deliveries, shared with the local broker.
    pub occupancy: Occupancy,
    /// Id of this node, for its dead letters.
    pub node: String,
    /// The counters of this process.
    pub metrics: Arc<Metrics>,
    /// The clock of this node.
    pub clock: Clock,
}

/// The bus of a single node.
pub struct LocalBus {
    config: LocalBusConfig,
    node: Arc<str>,
    waiting: Waiting,
    hubs: Mutex<HashMap<BusName, Hub>>,
    changes: broadcast::Sender<TopologyChanged>,
}

/// The channels through which the consumers of one bus hear of events.
#[derive(Clone)]
struct Hub {
    /// Rings when an event was stored, or when waiting consumers should read their queues again.
    bell: watch::Sender<()>,
    /// Events for asynchronous every-node listeners.
    events: broadcast::Sender<Arc<Event>>,
    /// Synchronous every-node listeners.
    inline: InlineListeners,
    /// Key listeners.
    registry: Registry,
}

impl LocalBus {
    /// A bus over the embedded store.
    #[must_use]
    pub fn new(config: LocalBusConfig) -> Self {
        let (changes, _) = broadcast::channel(BEHIND);
        let node = config.node.as_str().into();
        Self { config, node, waiting: Waiting::default(), hubs: Mutex::default(), changes }
    }

    fn hub(&self, bus: &BusName) -> Hub {
        let mut hubs = self.hubs.lock();
        let new = || Hub {
            bell: watch::Sender::new(()),
            events: broadcast::Sender::new(BEHIND),
            inline: InlineListeners::new(&self.config.clock),
            registry: Registry::immediate(Meter {
                metrics: Arc::clone(&self.config.metrics),
                bus: bus.clone(),
            }),
        };
        hubs.entry(bus.clone()).or_insert_with(new).clone()
    }

    fn queue(
        &self,
        hub: &Hub,
        consumption: Consumption,
        listener: Arc<dyn Listener>,
        ending: &Ending,
    ) -> LocalQueue {
        let config = &self.config;
        LocalQueue {
            store: config.store.clone(),
            occupancy: config.occupancy.clone(),
            consumption: Arc::new(consumption),
            listener,
            waiting: self.waiting.clone(),
            places: LentPlaces::new(hub.bell.clone()),
            abort: ending.abort.clone(),
            node: Arc::clone(&self.node),
            metrics: Arc::clone(&config.metrics),
            clock: config.clock.clone(),
        }
    }
}

#[async_trait]
impl EventBus for LocalBus {
    /// The in-process bus needs no subscription: every notification reaches this process.
    fn listen_to(&self, _buses: &Buses) {}

    async fn publish(&self, bus: &BusDefinition, outgoing: &Outgoing) -> Result<(), DispatchError> {
        let (event, bus) = (&outgoing.event, &bus.name);
        if event.noop {
            return Ok(());
        }
        let hub = self.hub(bus);
        let Encoded { content_type, body } = codec::encode(Codec::Json, event)?;
        if outgoing.kept_by.is_none() {
            let (hub, keys) = (&hub, &outgoing.keys);
            tokio::join!(hub.inline.call(event), hub.registry.call_sync(event, keys));
        }
        let headers = serde_json::json!({});
        let exchange = self.config.layout.main(bus);
        let stored =
            self.config.store.publish(&exchange, "", Some(content_type), &headers, &body).await;
        let deliveries = stored.map_err(|error| DispatchError::Unavailable {
            what: format!("storing event {} for bus {bus}", event.id),
            source: Some(Box::new(error)),
        })?;
        // Checked before other listeners hear of the event, because it will be published again.
        if deliveries.is_empty() && outgoing.must_route {
            return Err(DispatchError::Unroutable(bus.clone()));
        }
        hub.bell.send_replace(());
        let event = Arc::new(event.clone());
        // Fails when there is no asynchronous every-node listener, so no listener misses the event.
        let _ = hub.events.send(Arc::clone(&event));
        hub.registry.enqueue(&event, &outgoing.keys, Audience::AsyncOnly);
        self.waiting.wait_for(&self.config.store, &deliveries).await;
        Ok(())
    }

    async fn redeliver(
        &self,
        bus: &BusDefinition,
        redelivery: &Redelivery,
    ) -> Result<(), DispatchError> {
        let Redelivery { group, queue, content_type, body, previous } = redelivery;
        match self.config.store.redeliver(queue, content_type.as_deref(), body, *previous).await {
            Ok(()) => self.hub(&bus.name).bell.send_replace(()),
            Err(LocalError::NoQueue(_)) => {
                return Err(DispatchError::Unroutable(bus.name.clone()));
            }
            Err(error) => {
                return Err(DispatchError::Unavailable {
                    what: format!("storing dead letter {previous} for group {group} again"),
                    source: Some(Box::new(error)),
                });
            }
        }
        Ok(())
    }

    fn register(
        &self,
        bus: &BusDefinition,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration {
        self.hub(&bus.name).registry.register(keys, listener)
    }

    fn notifications(&self, _: &BusName) -> Result<(), NotificationFault> {
        Ok(())
    }

    fn consume(&self, consumption: Consumption, listener: Arc<dyn Listener>) -> Consumer {
        let hub = self.hub(&consumption.listener.bus);
        let (state, watched) = watch::channel(ConsumerState::Waiting("it is starting".to_owned()));
        let ending = Ending::default();
        let task = if !consumption.every_node() {
            let queue = self.queue(&hub, consumption, listener, &ending);
            let running = consume::consume(queue, hub.bell.subscribe(), state, ending.clone());
            spawn("local-consumer", running)
        } else if consumption.listener.mode == Mode::Sync {
            let spec = consumption.listener;
            let running = every_node::attend(spec, listener, &hub.inline, state, ending.clone());
            spawn("local-inline-listener", running)
        } else {
            let every_node =
                every_node::EveryNode { consumption, listener, clock: self.config.clock.clone() };
            let events = hub.events.subscribe();
            spawn("local-every-node-listener", every_node.consume(events, state, ending.clone()))
        };
        Consumer { state: watched, stop: Box::new(ending.stopper(task)) }
    }

    fn wake(&self) {
        let hubs = self.hubs.lock();
        for hub in hubs.values() {
            hub.bell.send_replace(());
        }
    }

    async fn announce(&self, change: &TopologyChanged) {
        // Fails when no receiver is left, so no receiver misses the broadcast.
        let _ = self.changes.send(change.clone());
    }

    fn changes(&self) -> broadcast::Receiver<TopologyChanged> {
        self.changes.subscribe()
    }

    async fn health(&self) -> Result<(), BusUnreachable> {
        Ok(self.config.store.ping().await?)
    }

    async fn close(&self) {
        // The connections belong to the store, which other parts of the node still use.
    }
}
