//! Making the running listeners equal to the roster.
//!
//! Each turn compares the whole roster with what runs. A turn is woken by a change of the roster,
//! by a broadcast that the topology changed, and by a timer; what woke it is not looked at.

use super::{
    ThisNode,
    worker::{Counted, Worker},
};
use crate::{
    bus::{Consumption, EventBus},
    clock,
    domain::{
        command::Pending,
        listener::{Delivery, ListenerSpec},
        report::ListenerState,
        roster::{QueueId, Roster},
    },
    metrics::Metrics,
    roster::RosterService,
    store::Store,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{Notify, broadcast::error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The pause before a listener that could not be made is made again. A secret file may appear, a
/// name may resolve.
const MAKE_AGAIN: Duration = Duration::from_secs(15);

/// How often the states of the consumers are taken over although nothing woke the supervisor.
const TURN: Duration = Duration::from_millis(500);

/// Runs the listeners of this node.
pub struct Supervisor {
    /// The roster.
    pub roster: Arc<RosterService>,
    /// Which drained queues are gone.
    pub store: Store,
    /// Where listeners consume.
    pub bus: Arc<dyn EventBus>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Where the states are published.
    pub handle: ThisNode,
    /// Wakes the reconciler when a consumer lost its queue.
    pub nudge: Arc<Notify>,
    /// How long a handler may take to finish when its listener goes.
    pub patience: Duration,
}

impl Supervisor {
    /// Runs until told to stop; then stops every consumer and returns when their handlers have
    /// finished, or their patience is over.
    pub async fn run(self, stop: CancellationToken) {
        let mut roster = self.roster.subscribe();
        let mut changes = self.bus.changes();
        let mut workers = BTreeMap::new();
        let stopping = TaskTracker::new();
        let mut retired = BTreeSet::new();
        loop {
            let current = Arc::clone(&roster.borrow_and_update());
            let buses = self.roster.buses();
            let known = |listener: &ListenerSpec| buses.contains_key(&listener.bus);
            if !current.listeners().values().all(|configured| known(&configured.listener)) {
                // Another node brought it. Said by the listener until it is read.
                let _ = self.roster.read_buses().await;
            }
            if has_draining(&current) {
                // Unknown is as good as before: a drained queue that is gone only waits.
                retired = self.store.retired().await.unwrap_or(retired);
            }
            self.turn(&current, &retired, &mut workers, &stopping);
            tokio::select! {
                biased;
                () = stop.cancelled() => break,
                alive = roster.changed() => if alive.is_err() { break },
                change = changes.recv() => match change {
                    Ok(_) | Err(RecvError::Lagged(_)) => {
                        let _ = stop.run_until_cancelled(self.catch_up_and_wake()).await;
                    }
                    Err(RecvError::Closed) => tokio::time::sleep(TURN).await,
                },
                () = tokio::time::sleep(TURN) => {}
            }
        }
        for worker in std::mem::take(&mut workers).into_values() {
            self.stop(worker, &stopping);
        }
        stopping.close();
        stopping.wait().await;
        self.handle.listeners.send_replace(Vec::new());
    }

    /// Reacts to a broadcast: the log and the broker may hold something new.
    async fn catch_up_and_wake(&self) {
        if let Err(error) = self.roster.current().await {
            tracing::debug!(%error, "could not read the roster after a broadcast; the tail will");
        }
        self.bus.wake();
    }

    fn turn(
        &self,
        roster: &Roster,
        retired: &BTreeSet<QueueId>,
        workers: &mut BTreeMap<QueueId, Worker>,
        stopping: &TaskTracker,
    ) {
        let now = clock::now();
        let wanted = wanted(roster, retired);
        let gone: Vec<_> = (workers.iter())
            .filter(|(id, worker)| {
                wanted.get(*id) != Some(&(worker.listener.clone(), worker.draining))
            })
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            if let Some(worker) = workers.remove(&id) {
                self.stop(worker, stopping);
            }
        }
        for (id, (listener, draining)) in wanted {
            let worker =
                workers.entry(id.clone()).or_insert_with(|| Worker::new(listener, draining, now));
            if worker.consumer.is_none() && worker.retry_at <= Instant::now() {
                self.start(&id, worker);
            }
            if worker.refresh(now) {
                self.nudge.notify_one();
            }
        }
        let mut statuses: Vec<_> = (workers.values())
            .filter(|worker| !worker.draining)
            .map(|worker| worker.status.clone())
            .collect();
        statuses.sort_by(|a, b| a.group.cmp(&b.group));
        self.handle.listeners.send_if_modified(|known| {
            let changed = *known != statuses;
            *known = statuses;
            changed
        });
    }

    fn start(&self, id: &QueueId, worker: &mut Worker) {
        let ListenerSpec { bus, group, class, .. } = &worker.listener;
        let Some(definition) = self.roster.buses().get(bus).cloned() else {
            let cause = format!("this node has not read what bus {bus} is yet");
            return worker.enter(ListenerState::Starting, Some(cause), clock::now());
        };
        match worker.make(self.roster.catalog()) {
            Ok(listener) => {
                self.metrics.listener(bus, group);
                let queue = self.roster.layout().work(bus, group, id.generation);
                let metrics = Arc::clone(&self.metrics);
                let counted = Arc::new(Counted { listener, metrics });
                let consumption = Consumption {
                    listener: worker.listener.clone(),
                    bus: definition,
                    queue,
                    draining: worker.draining,
                };
                tracing::info!(%group, %class, draining = worker.draining, "listener {group} of class {class} starts");
                worker.consumer = Some(self.bus.consume(consumption, counted));
            }
            Err((state, cause)) => {
                // Said once per listener and cause, however often it is tried.
                if worker.status.state != state || worker.status.cause.as_ref() != Some(&cause) {
                    tracing::error!(%group, %class, %cause, "listener {group} of class {class} cannot run on this node: {cause}; its events wait");
                }
                worker.enter(state, Some(cause), clock::now());
                worker.retry_at = Instant::now() + MAKE_AGAIN;
            }
        }
    }

    fn stop(&self, worker: Worker, stopping: &TaskTracker) {
        let ListenerSpec { group, class, .. } = &worker.listener;
        tracing::info!(%group, %class, "listener {group} of class {class} stops");
        if let Some(consumer) = worker.consumer {
            stopping.spawn(consumer.stop.stop(self.patience));
        }
    }
}

fn has_draining(roster: &Roster) -> bool {
    roster.tombstones().values().any(|tombstone| tombstone.pending == Pending::Drain)
}

/// The queues to consume, each with its listener and whether it is on its way out.
fn wanted(roster: &Roster, retired: &BTreeSet<QueueId>) -> BTreeMap<QueueId, (ListenerSpec, bool)> {
    let configured = roster.listeners().iter().map(|(group, configured)| {
        (QueueId::new(group.clone(), configured.generation), (configured.listener.clone(), false))
    });
    let draining = roster.tombstones().iter().filter(|(id, tombstone)| {
        tombstone.pending == Pending::Drain
            && tombstone.listener.delivery == Delivery::Once
            && !retired.contains(*id)
    });
    let draining = draining.map(|(id, tombstone)| (id.clone(), (tombstone.listener.clone(), true)));
    configured.chain(draining).collect()
}
