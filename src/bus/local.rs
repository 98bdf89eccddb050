//! The bus within one process, with its work queues in the embedded store.
//!
//! # Guarantees
//! An event is in the store before [`LocalBus::dispatch`] returns, one delivery for each work
//! queue, in one transaction. A delivery leaves the store only after its listener succeeded, so
//! a process that is killed at any moment runs it again and loses none. What is in hand is
//! remembered in memory alone ([`Occupancy`]): a new process has nothing in hand.
//!
//! # How consumers wake
//! A consumer looks at its queue, then waits for whatever comes first: its bus's bell, a handler
//! that ends, the time at which a postponed delivery is due, or a slow poll that repairs a missed
//! bell.

mod every_node;
mod occupancy;
mod run;
mod work;

pub use occupancy::Occupancy;

use super::{
    Consumer, ConsumerState, Consumption, DispatchError, EventBus, Handler, Stop, TopologyChanged,
    codec::{CLOUDEVENTS_JSON, encode_cloudevent},
    event::Event,
};
use crate::{
    domain::{layout::Layout, name::BusName},
    store::Store,
};
use async_trait::async_trait;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    task::JoinHandle,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// How many events an every-node listener may be behind before the oldest are lost to it.
const BEHIND: usize = 1024;

/// The bus of a single node.
pub struct LocalBus {
    store: Store,
    layout: Layout,
    occupancy: Occupancy,
    lanes: Mutex<HashMap<BusName, Lane>>,
    changes: broadcast::Sender<TopologyChanged>,
}

/// What the consumers of one bus hear.
#[derive(Clone)]
struct Lane {
    /// Changes when an event was stored, or when waiting consumers should look again.
    bell: watch::Sender<()>,
    /// For every-node listeners.
    events: broadcast::Sender<Arc<Event>>,
}

impl LocalBus {
    /// A bus over the embedded store. `occupancy` is shared with the local broker, which counts
    /// consumers and events in hand with it.
    #[must_use]
    pub fn new(store: Store, layout: Layout, occupancy: Occupancy) -> Self {
        let (changes, _) = broadcast::channel(BEHIND);
        Self { store, layout, occupancy, lanes: Mutex::default(), changes }
    }

    fn lane(&self, bus: &BusName) -> Lane {
        let mut lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let new = || Lane { bell: watch::Sender::new(()), events: broadcast::Sender::new(BEHIND) };
        lanes.entry(bus.clone()).or_insert_with(new).clone()
    }
}

#[async_trait]
impl EventBus for LocalBus {
    async fn dispatch(
        &self,
        bus: &BusName,
        event: &Event,
        has_listeners: bool,
    ) -> Result<(), DispatchError> {
        if event.noop {
            return Ok(());
        }
        let body = encode_cloudevent(event);
        let headers = serde_json::json!({});
        let exchange = self.layout.main(bus);
        let reached = self
            .store
            .local_publish(&exchange, "", Some(CLOUDEVENTS_JSON), &headers, &body)
            .await
            .map_err(|error| DispatchError::Unavailable {
                what: format!("storing event {} for bus {bus}", event.id),
                source: Some(Box::new(error)),
            })?;
        let lane = self.lane(bus);
        // Fails when there is no every-node listener, which is nothing.
        let everywhere = lane.events.send(Arc::new(event.clone())).unwrap_or(0);
        lane.bell.send_replace(());
        if reached == 0 && everywhere == 0 && has_listeners {
            return Err(DispatchError::Unroutable(bus.clone()));
        }
        Ok(())
    }

    fn consume(&self, consumption: Consumption, handler: Arc<dyn Handler>) -> Consumer {
        let lane = self.lane(&consumption.listener.bus);
        let (state, watched) = watch::channel(ConsumerState::Waiting("it is starting".to_owned()));
        let (finish, abort) = (CancellationToken::new(), CancellationToken::new());
        let ending = run::Ending { finish: finish.clone(), abort: abort.clone() };
        let task = if consumption.every_node() {
            let events = lane.events.subscribe();
            tokio::spawn(every_node::consume(consumption, handler, events, state, ending))
        } else {
            let queue = work::Queue {
                store: self.store.clone(),
                occupancy: self.occupancy.clone(),
                consumption: Arc::new(consumption),
                handler,
            };
            tokio::spawn(work::consume(queue, lane.bell.subscribe(), state, ending))
        };
        let stop = Stopper { task, finish: finish.drop_guard(), abort };
        Consumer { state: watched, stop: Box::new(stop) }
    }

    fn wake(&self) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        for lane in lanes.values() {
            lane.bell.send_replace(());
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
