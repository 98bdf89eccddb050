//! Making the running listeners equal to the roster.
//!
//! Each turn compares the whole roster with the running listeners. A change of the roster, a
//! broadcast that the topology changed, and a timer wake a turn. A turn does not depend on what
//! woke it.

use super::{
    ThisNode,
    making::ListenerMaker,
    worker::{Assignment, Counted, Worker},
};
use crate::{
    bus::{Consumption, EventBus},
    clock::Clock,
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
    time::Duration,
};
use tokio::sync::{Notify, broadcast::error::RecvError};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longest pause between two turns. Each turn takes over the states of the consumers.
const TURN: Duration = Duration::from_millis(500);

/// Pause between two looks at the list of deleted queues while a queue drains.
const RETIRED: Duration = Duration::from_secs(5);

/// Runs the listeners of this node.
pub struct Supervisor {
    /// The roster to match.
    pub roster: Arc<RosterService>,
    /// The store, which knows the drained queues that were deleted.
    pub store: Store,
    /// The bus that the listeners consume from.
    pub bus: Arc<dyn EventBus>,
    /// The counters of this process.
    pub metrics: Arc<Metrics>,
    /// The state of this node, which gets the states of the listeners.
    pub handle: ThisNode,
    /// Wakes the reconciler when a consumer lost its queue.
    pub nudge: Arc<Notify>,
    /// Longest time that running executions get to finish when their listener stops.
    pub patience: Duration,
    /// The clock of this node.
    pub clock: Clock,
}

impl Supervisor {
    /// Runs until it is told to stop. Then it stops every consumer, and returns when their
    /// executions have finished or their time is over.
    pub async fn run(self, stop: CancellationToken) {
        let mut roster = self.roster.subscribe();
        let mut changes = self.bus.changes();
        let mut workers = BTreeMap::new();
        let maker = ListenerMaker::new(self.roster.catalog().clone());
        let stopping = TaskTracker::new();
        // Read once at the start, so that no consumer starts on a queue that was deleted.
        let mut retired = self.store.retired().await.unwrap_or_default();
        let mut read_retired = self.clock.monotonic();
        loop {
            let current = Arc::clone(&roster.borrow_and_update());
            let buses = self.roster.buses();
            let known = |listener: &ListenerSpec| buses.contains_key(&listener.bus);
            if !current.listeners().values().all(|configured| known(&configured.listener)) {
                // Another node added the bus. Until it is read, the listener's state says so.
                let _ = self.roster.read_buses().await;
            }
            if is_draining(&current, &retired) && self.clock.elapsed(read_retired) >= RETIRED {
                // When this cannot be read, the old list is good enough: the consumer of a deleted
                // queue only waits.
                retired = self.store.retired().await.unwrap_or(retired);
                read_retired = self.clock.monotonic();
            }
            self.turn(&current, &retired, &mut workers, &maker, &stopping);
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
                () = maker.finished() => {}
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
        maker: &ListenerMaker,
        stopping: &TaskTracker,
    ) {
        let wanted = assignments(roster, retired);
        let gone: Vec<_> = (workers.iter())
            .filter(|(id, worker)| wanted.get(*id) != Some(&worker.assignment))
            .map(|(id, _)| id.clone())
            .collect();
        for id in gone {
            if let Some(worker) = workers.remove(&id) {
                self.stop(worker, stopping);
            }
        }
        for (id, assignment) in wanted {
            let worker =
                workers.entry(id.clone()).or_insert_with(|| Worker::new(assignment, &self.clock));
            if worker.is_due(&self.clock) {
                self.start(&id, worker, maker);
            }
            if worker.refresh(self.clock.now()) {
                self.nudge.notify_one();
            }
        }
        let mut statuses: Vec<_> = (workers.values())
            .filter(|worker| !worker.assignment.draining)
            .map(|worker| worker.status.clone())
            .collect();
        statuses.sort_by(|a, b| a.group.cmp(&b.group));
        self.handle.listeners.send_if_modified(|known| {
            let changed = *known != statuses;
            *known = statuses;
            changed
        });
    }

    fn start(&self, id: &QueueId, worker: &mut Worker, maker: &ListenerMaker) {
        let Assignment { listener: spec, draining } = worker.assignment.clone();
        let ListenerSpec { bus, group, class, .. } = &spec;
        let Some(definition) = self.roster.buses().get(bus).cloned() else {
            let cause = format!("this node has not read the definition of bus {bus} yet");
            return worker.enter(ListenerState::Starting, Some(cause), self.clock.now());
        };
        match worker.make(maker, &self.clock) {
            None => {}
            Some(Ok(listener)) => {
                self.metrics.listener(bus, group);
                let queue = self.roster.layout().work(bus, group, id.generation);
                let metrics = Arc::clone(&self.metrics);
                let counted = Arc::new(Counted { listener, metrics });
                tracing::info!(%group, %class, draining, "listener {group} of class {class} starts");
                let consumption = Consumption { listener: spec, bus: definition, queue, draining };
                worker.consumer = Some(self.bus.consume(consumption, counted));
            }
            Some(Err(error)) => worker.note_failure(&error, &self.clock),
        }
    }

    fn stop(&self, worker: Worker, stopping: &TaskTracker) {
        let ListenerSpec { group, class, .. } = &worker.assignment.listener;
        tracing::info!(%group, %class, "listener {group} of class {class} stops");
        if let Some(consumer) = worker.consumer {
            stopping.spawn(consumer.stop.stop(self.patience));
        }
    }
}

/// Whether a queue drains that is not known to be deleted.
fn is_draining(roster: &Roster, retired: &BTreeSet<QueueId>) -> bool {
    let mut tombstones = roster.tombstones().iter();
    tombstones.any(|(id, tombstone)| tombstone.pending == Pending::Drain && !retired.contains(id))
}

/// The queues that this node consumes, with their listeners.
fn assignments(roster: &Roster, retired: &BTreeSet<QueueId>) -> BTreeMap<QueueId, Assignment> {
    let configured = roster.listeners().iter().map(|(group, configured)| {
        let listener = configured.listener.clone();
        let id = QueueId::new(group.clone(), configured.generation);
        (id, Assignment { listener, draining: false })
    });
    let draining = roster.tombstones().iter().filter(|(id, tombstone)| {
        tombstone.pending == Pending::Drain
            && tombstone.listener.delivery == Delivery::Once
            && !retired.contains(*id)
    });
    let draining = draining.map(|(id, tombstone)| {
        (id.clone(), Assignment { listener: tombstone.listener.clone(), draining: true })
    });
    configured.chain(draining).collect()
}
