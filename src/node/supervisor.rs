//! Making the running listeners equal to the roster.
//!
//! Each turn compares the whole roster with the running listeners. A change of the roster, a
//! broadcast that the topology changed, and a timer wake a turn. A turn does not depend on what
//! woke it.

use super::{
    ThisNode,
    making::ListenerMaker,
    worker::{ActiveConsumer, Assignment, Counted, Worker},
};
use crate::{
    bus::{Consumption, EventBus, Listener},
    clock::Clock,
    domain::{
        command::Pending,
        listener::{Delivery, ListenerSpec},
        report::ListenerState,
        roster::{QueueId, Roster},
    },
    listeners::Catalog,
    metrics::Metrics,
    roster::RosterService,
    store::Store,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{Notify, broadcast::error::RecvError},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Longest pause between two turns. Each turn takes over the states of the consumers.
const TURN: Duration = Duration::from_millis(500);

/// Pause between two looks at the list of deleted queues while a queue drains.
const RETIRED: Duration = Duration::from_secs(5);
/// Time that an execution gets beyond its timeout to be settled before its consumer is replaced.
const SETTLING: Duration = Duration::from_secs(10);

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
        let mut crew = Crew::new(self.roster.catalog().clone());
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
            self.turn(&current, &retired, &mut crew);
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
                () = crew.maker.finished() => {}
                () = crew.stopped.notified() => {}
                () = tokio::time::sleep(TURN) => {}
            }
        }
        for mut worker in std::mem::take(&mut crew.workers).into_values() {
            Self::stop(&mut worker, &crew, self.patience);
        }
        crew.stopping.close();
        // A consumer that is replaced has more time than a node that stops.
        if timeout(self.patience + SETTLING, crew.stopping.wait()).await.is_err() {
            tracing::warn!(
                "some executions of replaced consumers still run; their events are delivered again"
            );
        }
        self.handle.listeners.send_replace(Vec::new());
    }

    /// Reacts to a broadcast: the log and the broker may hold something new.
    async fn catch_up_and_wake(&self) {
        if let Err(error) = self.roster.current().await {
            tracing::debug!(%error, "could not read the roster after a broadcast; the tail will");
        }
        self.bus.wake();
    }

    fn turn(&self, roster: &Roster, retired: &BTreeSet<QueueId>, crew: &mut Crew) {
        let wanted = assignments(roster, retired);
        let gone: Vec<_> =
            crew.workers.keys().filter(|id| !wanted.contains_key(*id)).cloned().collect();
        for id in gone {
            if let Some(mut worker) = crew.workers.remove(&id) {
                Self::stop(&mut worker, crew, self.patience);
            }
        }
        for (id, assignment) in wanted {
            let mut worker = (crew.workers.remove(&id))
                .unwrap_or_else(|| Worker::new(assignment.clone(), &self.clock));
            worker.assign(&assignment, &self.clock);
            if assignment.paused {
                Self::replace(&mut worker, crew);
                worker.enter(ListenerState::Paused, None, self.clock.now());
            } else if worker.is_due(&self.clock) {
                self.start(&id, &mut worker, crew);
            }
            if worker.refresh(self.clock.now()) {
                self.nudge.notify_one();
            }
            crew.workers.insert(id, worker);
        }
        self.report(crew);
    }

    fn report(&self, crew: &Crew) {
        let mut statuses: Vec<_> = (crew.workers.values())
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

    /// Brings the consumer to the present settings of its listener. The listener is made first, so
    /// that a listener that cannot be made leaves the consumer as it is.
    fn start(&self, id: &QueueId, worker: &mut Worker, crew: &Crew) {
        let ListenerSpec { bus, group, class, .. } = worker.assignment.listener.clone();
        let Some(bus) = self.roster.buses().get(&bus).cloned() else {
            let cause = format!("this node has not read the definition of bus {bus} yet");
            return worker.enter(ListenerState::Starting, Some(cause), self.clock.now());
        };
        let made = match worker.made.take() {
            Some(made) => Some(Ok(made)),
            None => worker.make(&crew.maker, &self.clock),
        };
        let listener = match made {
            Some(Ok(listener)) => listener,
            Some(Err(error)) => return worker.note_failure(&error, &self.clock),
            None => return,
        };
        if worker.take_over(&listener) {
            tracing::info!(%group, %class, "listener {group} of class {class} goes on with its new configuration");
            return;
        }
        Self::replace(worker, crew);
        if worker.is_handing_over() {
            worker.made = Some(listener);
            let cause = "the executions with its earlier settings finish first".to_owned();
            return worker.enter(ListenerState::Starting, Some(cause), self.clock.now());
        }
        let assignment = worker.assignment.clone();
        let draining = assignment.draining;
        tracing::info!(%group, %class, draining, "listener {group} of class {class} starts");
        self.metrics.listener(&bus.name, &group);
        let queue = self.roster.layout().work(&bus.name, &group, id.generation);
        let listener = Arc::new(Counted::new(listener, Arc::clone(&self.metrics)));
        let spec = assignment.listener.clone();
        let consumption = Consumption { listener: spec, bus, queue, draining };
        let consumer = self.bus.consume(consumption, Arc::clone(&listener) as Arc<dyn Listener>);
        worker.active = Some(ActiveConsumer { assignment, consumer, listener });
    }

    /// Stops a consumer whose listener goes on or is paused. Each running execution gets the time
    /// that its settings give it, so that no event runs twice because of the change.
    fn replace(worker: &mut Worker, crew: &Crew) {
        if let Some(active) = &worker.active {
            let longest = active.assignment.listener.timeout.duration();
            Self::stop(worker, crew, longest + SETTLING);
        }
    }

    fn stop(worker: &mut Worker, crew: &Crew, patience: Duration) {
        let Some(active) = worker.active.take() else { return };
        let ListenerSpec { group, class, .. } = &active.assignment.listener;
        tracing::info!(%group, %class, "listener {group} of class {class} stops");
        let (stop, wake) = (active.consumer.stop, Arc::clone(&crew.stopped));
        let stopped = CancellationToken::new();
        worker.handover = Some(stopped.clone());
        crew.stopping.spawn(async move {
            stop.stop(patience).await;
            stopped.cancel();
            wake.notify_one();
        });
    }
}

/// Whether a queue drains that is not known to be deleted.
fn is_draining(roster: &Roster, retired: &BTreeSet<QueueId>) -> bool {
    let mut tombstones = roster.tombstones().iter();
    tombstones.any(|(id, tombstone)| tombstone.pending == Pending::Drain && !retired.contains(id))
}

/// The workers of this node, and the consumers that stop.
struct Crew {
    workers: BTreeMap<QueueId, Worker>,
    maker: ListenerMaker,
    stopping: TaskTracker,
    /// Wakes a turn when a consumer has stopped.
    stopped: Arc<Notify>,
}

impl Crew {
    fn new(catalog: Catalog) -> Self {
        let (workers, stopping, stopped) = Default::default();
        Self { workers, maker: ListenerMaker::new(catalog), stopping, stopped }
    }
}

/// The queues that this node consumes, with their listeners.
fn assignments(roster: &Roster, retired: &BTreeSet<QueueId>) -> BTreeMap<QueueId, Assignment> {
    let configured = roster.listeners().iter().map(|(group, configured)| {
        let listener = configured.listener.clone();
        let id = QueueId::new(group.clone(), configured.generation);
        (id, Assignment { listener, draining: false, paused: configured.paused })
    });
    let draining = roster.tombstones().iter().filter(|(id, tombstone)| {
        tombstone.pending == Pending::Drain
            && tombstone.listener.delivery == Delivery::Once
            && !retired.contains(*id)
    });
    // A queue that was replaced during a pause waits for the end of the pause, too.
    let draining = draining.map(|(id, tombstone)| {
        let (listener, paused) = (tombstone.listener.clone(), roster.is_paused(&id.group));
        (id.clone(), Assignment { listener, draining: true, paused })
    });
    configured.chain(draining).collect()
}
