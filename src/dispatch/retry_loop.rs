//! Publishing again what could not be published.
//!
//! One node at a time does it, bus by bus, in the order in which the events were kept. An event
//! leaves the database only after the bus took it, so a crash in between publishes it twice and
//! loses it never.

use super::{
    Dispatcher, RedeliverError,
    keep::{Outages, may_pass},
};
use crate::{
    bus::{Outgoing, codec::decode},
    domain::{bus::BusDefinition, name::BusName, report::TopologyState},
    error_chain::error_chain,
    store::{DispatchFailure, HeldLock, Lock, Store, StoreError},
};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use futures_util::future::join_all;
use std::{collections::HashSet, time::Duration};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often the database is looked into although this node kept nothing: another may have, and
/// have died.
const IDLE: Duration = Duration::from_secs(30);
/// The first pause after events could not be published again; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// How many events are published at once.
const WINDOW: usize = 100;

/// What is left after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Left {
    /// Nothing that trying again soon could help.
    Nothing,
    /// Events that are worth another try, or it is not known.
    Events,
    /// The same, of a bus that had no queue for them: a pass may bring it.
    Unrouted,
}

/// The loop's memory.
struct Redispatch {
    dispatcher: Dispatcher,
    /// Entries that were said to stay, each once.
    entries_told: HashSet<Uuid>,
    /// Buses that were said to be gone, each once.
    buses_told: HashSet<BusName>,
}

impl Dispatcher {
    /// Publishes what could not be published until it is, with growing pauses, until told to
    /// stop. The pause ends early when the bus takes an event, and, where there was no queue for
    /// it, when the topology was seen to be as it should.
    pub async fn run(self, stop: CancellationToken) {
        let working = Redispatch {
            dispatcher: self,
            entries_told: HashSet::new(),
            buses_told: HashSet::new(),
        };
        stop.run_until_cancelled(working.run()).await;
    }
}

impl Redispatch {
    async fn run(mut self) {
        let mut doorbell = self.dispatcher.store.doorbell();
        let mut pauses = fresh();
        loop {
            doorbell.mark_unchanged();
            let left = self.turn().await;
            let Dispatcher { outages, store, .. } = &self.dispatcher;
            if left == Left::Nothing {
                pauses = fresh();
                tokio::select! {
                    () = sleep(IDLE) => continue,
                    // It failed just now, so it is not tried again at once.
                    () = outages.kept.notified() => {}
                }
            }
            let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
            if recovered(outages, store, &mut doorbell, pause, left).await {
                pauses = fresh();
            }
        }
    }

    /// Publishes what there is, as far as that works.
    async fn turn(&mut self) -> Left {
        match self.try_turn().await {
            Ok(left) => left,
            Err(error) => {
                let cause = error_chain(&error);
                tracing::debug!(cause, "events that could not be published wait: {cause}");
                Left::Events
            }
        }
    }

    async fn try_turn(&mut self) -> Result<Left, StoreError> {
        let store = self.dispatcher.store.clone();
        let buses = store.dispatch_failure_buses().await?;
        if buses.is_empty() {
            self.entries_told.clear();
            return Ok(Left::Nothing);
        }
        // Another node is at it. Whether it succeeds is not known here.
        let Some(mut lock) = store.try_lock(Lock::Redispatch).await? else {
            return Ok(Left::Events);
        };
        let mut left = Left::Nothing;
        for bus in buses {
            left = left.max(self.drain(&bus, &mut lock).await?);
        }
        lock.release().await;
        Ok(left)
    }

    /// Publishes a bus's events until there are none, or one fails.
    async fn drain(&mut self, name: &BusName, lock: &mut HeldLock) -> Result<Left, StoreError> {
        let bus = match self.dispatcher.bus_of(name).await {
            Ok(bus) => bus,
            Err(RedeliverError::Store(error)) => return Err(error),
            Err(gone) => {
                if self.buses_told.insert(name.clone()) {
                    tracing::warn!(bus = %name, "events that could not be published stay in the database: {gone}");
                }
                return Ok(Left::Nothing);
            }
        };
        let (mut published, mut stuck, mut after) = (0, 0, 0);
        loop {
            if !lock.still_held().await {
                return Ok(Left::Events);
            }
            // The first goes alone: while the bus is away, it keeps its place.
            let limit = if published == 0 { 1 } else { WINDOW };
            let window = self.dispatcher.store.dispatch_failures(name, after, limit).await?;
            let Some(last) = window.last() else { break };
            after = last.seq;
            let publishing = window.iter().map(|failure| self.dispatcher.again(&bus, failure));
            for (outcome, failure) in join_all(publishing).await.into_iter().zip(&window) {
                match outcome? {
                    Again::Published => published += 1,
                    Again::Stuck(cause) => {
                        stuck += 1;
                        self.tell(name, failure, &cause);
                    }
                    Again::Failed(left, cause) => {
                        tracing::debug!(bus = %name, cause, "bus {name} takes no events still: {cause}");
                        return Ok(left);
                    }
                }
            }
        }
        if published > 0 {
            tracing::info!(bus = %name, published, stuck, "bus {name} takes events again; {published} that were kept have been published, {stuck} are left");
        }
        Ok(Left::Nothing)
    }

    fn tell(&mut self, bus: &BusName, failure: &DispatchFailure, cause: &str) {
        let id = failure.id;
        if self.entries_told.insert(id) {
            tracing::error!(%bus, %id, cause, "an event that could not be published to bus {bus} never can be, and stays as dead letter {id}: {cause}");
        }
    }
}

/// What became of an event.
enum Again {
    /// It is safe, and its entry is gone.
    Published,
    /// It never can be published.
    Stuck(String),
    /// Not this time.
    Failed(Left, String),
}

impl Dispatcher {
    /// Publishes an event and removes its entry.
    async fn again(
        &self,
        bus: &BusDefinition,
        failure: &DispatchFailure,
    ) -> Result<Again, StoreError> {
        let event = match decode(failure.content_type.as_deref(), &failure.body) {
            Ok(event) => event,
            Err(error) => return Ok(Again::Stuck(error_chain(&error))),
        };
        if !self.outages.is_sent(failure.id) {
            let must_route = self.has_listeners(&bus.name);
            let keys = failure.keys.clone();
            let kept_by = Some(failure.node.clone());
            let outgoing = Outgoing { event, keys, must_route, kept_by };
            match self.bus.publish(bus, &outgoing).await {
                Ok(()) => {}
                Err(error) if error.wants_topology() => {
                    return Ok(Again::Failed(Left::Unrouted, error_chain(&error)));
                }
                Err(error) if may_pass(&error) => {
                    return Ok(Again::Failed(Left::Events, error_chain(&error)));
                }
                Err(error) => return Ok(Again::Stuck(error_chain(&error))),
            }
            self.outages.sent(failure.id);
            self.outages.over(&bus.name);
            self.metrics.redispatched(&bus.name);
        }
        self.store.remove_dead_letter(failure.id).await?;
        self.outages.forget(failure.id);
        Ok(Again::Published)
    }
}

/// Waits for a sign that publishing works, for at most `pause`. Returns whether there was one.
async fn recovered(
    outages: &Outages,
    store: &Store,
    doorbell: &mut watch::Receiver<u64>,
    pause: Duration,
    left: Left,
) -> bool {
    tokio::select! {
        () = sleep(pause) => false,
        () = outages.recovered.notified() => true,
        () = converged(store, doorbell), if left == Left::Unrouted => true,
    }
}

/// Waits until a pass, of whichever node, has found the topology as it should be.
async fn converged(store: &Store, doorbell: &mut watch::Receiver<u64>) {
    // The sender lives in the store, which is held.
    while doorbell.changed().await.is_ok() {
        let status = store.topology_status().await;
        if status.is_ok_and(|status| status.state == TopologyState::Converged) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// Growing pauses. The jitter adds up to the pause itself, so half of each is given.
fn fresh() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_PAUSE)
        .with_max_delay(LONGEST_PAUSE / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::report::TopologyStatus;

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_pause_ends_early_when_a_bus_takes_events_or_has_a_queue_that_it_lacked() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(folder.path()).await.unwrap();
        let (outages, mut doorbell) = (Outages::default(), store.doorbell());
        let mut ended =
            async |pause, left| recovered(&outages, &store, &mut doorbell, pause, left).await;
        assert!(!ended(Duration::ZERO, Left::Unrouted).await);
        outages.recovered.notify_one();
        assert!(ended(LONG, Left::Events).await);
        let saved = async |state| {
            let status = TopologyStatus { state, ..TopologyStatus::default() };
            store.save_topology_status(&status).await.unwrap();
        };
        saved(TopologyState::Unknown).await;
        let soon = Duration::from_millis(200);
        assert!(!ended(soon, Left::Unrouted).await);
        saved(TopologyState::Converged).await;
        assert!(ended(LONG, Left::Unrouted).await);
        // A pass finds nothing wrong every half minute while a queue has no leader.
        saved(TopologyState::Converged).await;
        assert!(!ended(soon, Left::Events).await);
    }

    #[test]
    fn pauses_grow_from_one_second_to_one_minute() {
        let pauses: Vec<_> = fresh().take(20).collect();
        assert!(pauses[0] >= FIRST_PAUSE && pauses[0] <= FIRST_PAUSE * 2, "{pauses:?}");
        assert!(pauses.iter().all(|pause| *pause <= LONGEST_PAUSE), "{pauses:?}");
        assert!(pauses[19] >= LONGEST_PAUSE / 2, "{pauses:?}");
    }
}
