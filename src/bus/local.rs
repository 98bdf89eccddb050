//! The bus within one process, with its work queues in the embedded store.
//!
//! # Guarantees
//! An event is in the store before [`LocalBus::publish`] returns, one delivery for each work
//! queue, in one transaction. A delivery leaves the store only after its listener succeeded, or in
//! one transaction with its dead letter, so a process that is killed at any moment runs it again
//! and loses none. What is in hand is remembered in memory alone ([`Occupancy`]): a new process
//! has nothing in hand.
//!
//! # How consumers wake
//! A consumer looks at its queue, then waits for whatever comes first: its bus's bell, a handler
//! that ends, the time at which a postponed delivery is due, or a slow poll that repairs a missed
//! bell.

mod ending;
mod every_node;
mod settle;
mod waiting;
mod work;

use super::{
    Consumer, ConsumerState, Consumption, DispatchError, EventBus, KeyListener, Listener, Outgoing,
    Redelivery, Registration, Stop, TopologyChanged,
    codec::{self, Encoded},
    event::Event,
    registry::{Everywhere, Meter, Registry, Which},
};
use crate::{
    domain::{
        bus::{BusDefinition, Codec},
        layout::Layout,
        listener::Mode,
        name::{BusName, RegistrationKey},
    },
    metrics::Metrics,
    store::embedded::{Embedded, LocalError, Occupancy},
};
use async_trait::async_trait;
use parking_lot::Mutex;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use waiting::{Places, Waiting};

/// How many events an every-node listener may be behind before the oldest are lost to it.
const BEHIND: usize = 1024;

/// The bus of a single node.
pub struct LocalBus {
    store: Embedded,
    layout: Layout,
    occupancy: Occupancy,
    node: Arc<str>,
    waiting: Waiting,
    hubs: Mutex<HashMap<BusName, Hub>>,
    changes: broadcast::Sender<TopologyChanged>,
    metrics: Arc<Metrics>,
}

/// What the consumers of one bus hear.
#[derive(Clone)]
struct Hub {
    /// Changes when an event was stored, or when waiting consumers should look again.
    bell: watch::Sender<()>,
    /// For every-node listeners.
    events: broadcast::Sender<Arc<Event>>,
    /// Those that a dispatch waits for.
    everywhere: Everywhere,
    /// Who follows which key.
    registry: Registry,
}

impl LocalBus {
    /// A bus over the embedded store. `occupancy` is shared with the local broker, which counts
    /// consumers and events in hand with it; `node` is this node's id, for its dead letters.
    #[must_use]
    pub fn new(
        store: Embedded,
        layout: Layout,
        occupancy: Occupancy,
        node: &str,
        metrics: Arc<Metrics>,
    ) -> Self {
        let (changes, _) = broadcast::channel(BEHIND);
        let (node, waiting, hubs) = (node.into(), Waiting::default(), Mutex::default());
        Self { store, layout, occupancy, node, waiting, hubs, changes, metrics }
    }

    fn hub(&self, bus: &BusName) -> Hub {
        let mut hubs = self.hubs.lock();
        let new = || Hub {
            bell: watch::Sender::new(()),
            events: broadcast::Sender::new(BEHIND),
            everywhere: Everywhere::default(),
            registry: Registry::immediate(Meter {
                metrics: Arc::clone(&self.metrics),
                bus: bus.clone(),
            }),
        };
        hubs.entry(bus.clone()).or_insert_with(new).clone()
    }
}

#[async_trait]
impl EventBus for LocalBus {
    async fn publish(&self, bus: &BusDefinition, outgoing: &Outgoing) -> Result<(), DispatchError> {
        let (event, bus) = (&outgoing.event, &bus.name);
        if event.noop {
            return Ok(());
        }
        let hub = self.hub(bus);
        let Encoded { content_type, body } = codec::encode(Codec::Json, event)?;
        if outgoing.kept_by.is_none() {
            let (hub, keys) = (&hub, &outgoing.keys);
            tokio::join!(hub.everywhere.call(event), hub.registry.call_sync(event, keys));
        }
        let headers = serde_json::json!({});
        let exchange = self.layout.main(bus);
        let reached =
            self.store.publish(&exchange, "", Some(content_type), &headers, &body).await.map_err(
                |error| DispatchError::Unavailable {
                    what: format!("storing event {} for bus {bus}", event.id),
                    source: Some(Box::new(error)),
                },
            )?;
        // Before anybody else hears of it, since it will be published again.
        if reached.is_empty() && outgoing.must_route {
            return Err(DispatchError::Unroutable(bus.clone()));
        }
        hub.bell.send_replace(());
        let event = Arc::new(event.clone());
        // Fails when there is no every-node listener, which is nothing.
        let _ = hub.events.send(Arc::clone(&event));
        hub.registry.enqueue(&event, &outgoing.keys, Which::AsyncOnly);
        self.waiting.all(&self.store, &reached).await;
        Ok(())
    }

    async fn redeliver(
        &self,
        bus: &BusDefinition,
        redelivery: &Redelivery,
    ) -> Result<(), DispatchError> {
        let Redelivery { group, queue, content_type, body, previous } = redelivery;
        match self.store.redeliver(queue, content_type.as_deref(), body, *previous).await {
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

    fn notifications(&self, _: &BusName) -> Result<(), String> {
        Ok(())
    }

    fn consume(&self, consumption: Consumption, handler: Arc<dyn Listener>) -> Consumer {
        let hub = self.hub(&consumption.listener.bus);
        let (state, watched) = watch::channel(ConsumerState::Waiting("it is starting".to_owned()));
        let (finish, abort) = (CancellationToken::new(), CancellationToken::new());
        let ending = ending::Ending { finish: finish.clone(), abort: abort.clone() };
        let sync = consumption.listener.mode == Mode::Sync;
        let task = if consumption.every_node() && sync {
            tokio::spawn(every_node::attend(
                consumption.listener,
                handler,
                &hub.everywhere,
                state,
                ending,
            ))
        } else if consumption.every_node() {
            let events = hub.events.subscribe();
            tokio::spawn(every_node::consume(consumption, handler, events, state, ending))
        } else {
            let queue = work::LocalQueue {
                store: self.store.clone(),
                occupancy: self.occupancy.clone(),
                consumption: Arc::new(consumption),
                handler,
                waiting: self.waiting.clone(),
                places: Places::new(hub.bell.clone()),
                abort: abort.clone(),
                node: Arc::clone(&self.node),
                metrics: Arc::clone(&self.metrics),
            };
            tokio::spawn(work::consume(queue, hub.bell.subscribe(), state, ending))
        };
        let stop = Stopper { task, finish: finish.drop_guard(), abort };
        Consumer { state: watched, stop: Box::new(stop) }
    }

    fn wake(&self) {
        let hubs = self.hubs.lock();
        for hub in hubs.values() {
            hub.bell.send_replace(());
        }
    }

    async fn announce(&self, change: &TopologyChanged) {
        // Fails when nobody listens, which is nothing.
        let _ = self.changes.send(change.clone());
    }

    fn changes(&self) -> broadcast::Receiver<TopologyChanged> {
        self.changes.subscribe()
    }

    async fn health(&self) -> Result<(), String> {
        self.store.ping().await.map_err(|error| format!("the embedded bus: {error}"))
    }

    async fn close(&self) {
        // Connections are the store's, which others use still.
    }
}

/// Ends a consumer's task. Dropped without [`Stop::stop`], it lets the task end by itself.
struct Stopper {
    task: JoinHandle<()>,
    finish: DropGuard,
    abort: CancellationToken,
}

#[async_trait]
impl Stop for Stopper {
    async fn stop(mut self: Box<Self>, patience: Duration) {
        drop(self.finish);
        if tokio::time::timeout(patience, &mut self.task).await.is_err() {
            self.abort.cancel();
            // A task that panicked has ended too.
            let _ = self.task.await;
        }
    }
}
