//! Redispatch: publishing the kept events that could not be published at first.
//!
//! One node of the cluster redispatches at a time, bus by bus, in the order in which the events
//! were kept. An event leaves the database only after the bus took it. So a crash in between may
//! publish an event twice, and never loses an event.

use super::{Dispatcher, RedeliverError, keep::is_worth_retrying, publishing::Publishing};
use crate::{
    bus::{Outgoing, codec::decode},
    domain::{bus::BusDefinition, name::BusName, report::TopologyState},
    error_chain::error_chain,
    outage::{Outage, pauses},
    store::{DispatchFailure, Lease, LeaseName, Store, StoreError},
};
use futures_util::future::join_all;
use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Pause between two looks into the database while this node has kept no event. Another node may
/// have kept events and died.
const IDLE: Duration = Duration::from_secs(30);
/// First pause after events could not be redispatched. The pauses grow from here.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// Longest pause after events could not be redispatched.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);
/// Number of events that are published at the same time.
const WINDOW: usize = 100;

/// The kept events that are left after a turn. A later variant includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Remaining {
    /// No event that could be published soon.
    Nothing,
    /// Events that are worth another try. Also when it is not known whether events are left.
    Events,
    /// Events whose bus had no queue for them. A pass of the reconciler may declare the queue.
    Unrouted,
}

/// The loop's memory.
struct Redispatch {
    dispatcher: Dispatcher,
    /// Entries that can never be published, each of which was reported once.
    reported: HashSet<Uuid>,
    /// Buses that have kept events and that the cluster does not have.
    missing: BTreeMap<BusName, Outage>,
}

impl Dispatcher {
    /// Redispatches kept events, with growing pauses, until it is told to stop. A pause ends early
    /// when the bus takes an event. After an event found no queue, a pause also ends early when a
    /// pass finds the topology converged.
    pub async fn run(self, stop: CancellationToken) {
        let redispatch =
            Redispatch { dispatcher: self, reported: HashSet::new(), missing: BTreeMap::new() };
        stop.run_until_cancelled(redispatch.run()).await;
    }
}

impl Redispatch {
    async fn run(mut self) {
        let mut doorbell = self.dispatcher.store.doorbell();
        let mut growing = pauses(FIRST_PAUSE, LONGEST_PAUSE);
        loop {
            doorbell.mark_unchanged();
            let remaining = self.turn().await;
            let Dispatcher { publishing, store, .. } = &self.dispatcher;
            if remaining == Remaining::Nothing {
                growing = pauses(FIRST_PAUSE, LONGEST_PAUSE);
                tokio::select! {
                    () = sleep(IDLE) => continue,
                    // The event failed just now, so it is not published again at once.
                    () = publishing.kept.notified() => {}
                }
            }
            let pause = growing.next().unwrap_or(LONGEST_PAUSE);
            if recovered(publishing, store, &mut doorbell, pause, remaining).await {
                growing = pauses(FIRST_PAUSE, LONGEST_PAUSE);
            }
        }
    }

    /// Redispatches the kept events of every bus.
    async fn turn(&mut self) -> Remaining {
        match self.try_turn().await {
            Ok(remaining) => remaining,
            Err(error) => {
                let cause = error_chain(&error);
                tracing::debug!(
                    cause,
                    "kept events wait, because the database cannot be used: {cause}"
                );
                Remaining::Events
            }
        }
    }

    async fn try_turn(&mut self) -> Result<Remaining, StoreError> {
        let store = self.dispatcher.store.clone();
        let buses = store.dispatch_failure_buses().await?;
        if buses.is_empty() {
            self.reported.clear();
            self.missing.clear();
            return Ok(Remaining::Nothing);
        }
        // Another node redispatches. This node does not know whether that node succeeds.
        let node = &self.dispatcher.roster.node().id;
        let Some(lease) = store.try_take(LeaseName::Redispatch, node).await? else {
            return Ok(Remaining::Events);
        };
        let mut remaining = Remaining::Nothing;
        for bus in buses {
            remaining = remaining.max(self.drain(&bus, &lease).await?);
        }
        lease.release().await;
        Ok(remaining)
    }

    /// Redispatches the kept events of a bus until no event is left, or an event fails.
    async fn drain(&mut self, name: &BusName, lease: &Lease) -> Result<Remaining, StoreError> {
        let bus = match self.dispatcher.bus_of(name).await {
            Ok(bus) => bus,
            Err(RedeliverError::Store(error)) => return Err(error),
            Err(missing) => {
                self.note_missing(name, &missing);
                return Ok(Remaining::Nothing);
            }
        };
        if let Some(mut outage) = self.missing.remove(name) {
            outage.over();
        }
        let (mut published, mut stuck, mut after) = (0, 0, 0);
        loop {
            lease.check().await?;
            // The first event goes alone: while the bus is away, this keeps the order.
            let limit = if published == 0 { 1 } else { WINDOW };
            let window = self.dispatcher.store.dispatch_failures(name, after, limit).await?;
            let Some(last) = window.last() else { break };
            after = last.seq;
            let publishing = window.iter().map(|failure| self.dispatcher.redispatch(&bus, failure));
            for (outcome, failure) in join_all(publishing).await.into_iter().zip(&window) {
                match outcome? {
                    Redispatched::Published => published += 1,
                    Redispatched::Never(cause) => {
                        stuck += 1;
                        self.report(name, failure, &cause);
                    }
                    Redispatched::NotYet(remaining, cause) => {
                        tracing::debug!(bus = %name, cause, "bus {name} still takes no events: {cause}");
                        return Ok(remaining);
                    }
                }
            }
        }
        if published > 0 {
            tracing::info!(bus = %name, published, stuck, "{published} kept events have been published to bus {name}, {stuck} are left that can never be published");
        }
        Ok(Remaining::Nothing)
    }

    fn note_missing(&mut self, bus: &BusName, error: &RedeliverError) {
        let outage = self.missing.entry(bus.clone()).or_insert_with(|| {
            let failing = format!(
                "kept events of bus {bus} stay in the database until the cluster has the bus"
            );
            Outage::new(&self.dispatcher.clock, failing, format!("the cluster has bus {bus} again"))
        });
        outage.failed(&error_chain(error));
    }

    fn report(&mut self, bus: &BusName, failure: &DispatchFailure, cause: &str) {
        let id = failure.id;
        if self.reported.insert(id) {
            tracing::error!(%bus, %id, cause, "a kept event can never be published to bus {bus}, and stays as dead letter {id}: {cause}");
        }
    }
}

/// Outcome of the redispatch of one event.
enum Redispatched {
    /// The event is safe, and its entry is removed.
    Published,
    /// The event can never be published, for this cause.
    Never(String),
    /// The event was not published this time, for this cause.
    NotYet(Remaining, String),
}

impl Dispatcher {
    /// Publishes a kept event and removes its entry.
    async fn redispatch(
        &self,
        bus: &BusDefinition,
        failure: &DispatchFailure,
    ) -> Result<Redispatched, StoreError> {
        let event = match decode(failure.content_type.as_deref(), &failure.body) {
            Ok(event) => event,
            Err(error) => return Ok(Redispatched::Never(error_chain(&error))),
        };
        if !self.publishing.was_published(failure.id) {
            let must_route = self.has_listeners(&bus.name);
            let keys = failure.keys.clone();
            let kept_by = Some(failure.node.clone());
            let outgoing = Outgoing { event, keys, must_route, kept_by };
            match self.bus.publish(bus, &outgoing).await {
                Ok(()) => {}
                Err(error) if error.wants_topology() => {
                    return Ok(Redispatched::NotYet(Remaining::Unrouted, error_chain(&error)));
                }
                Err(error) if is_worth_retrying(&error) => {
                    return Ok(Redispatched::NotYet(Remaining::Events, error_chain(&error)));
                }
                Err(error) => return Ok(Redispatched::Never(error_chain(&error))),
            }
            self.publishing.note_published(failure.id);
            self.publishing.succeeded(&bus.name);
            self.metrics.redispatched(&bus.name);
        }
        self.store.remove_dead_letter(failure.id).await?;
        self.publishing.forget(failure.id);
        Ok(Redispatched::Published)
    }
}

/// Waits for at most `pause` for a sign that publishing works again. Returns whether there was a
/// sign.
async fn recovered(
    publishing: &Publishing,
    store: &Store,
    doorbell: &mut watch::Receiver<u64>,
    pause: Duration,
    remaining: Remaining,
) -> bool {
    tokio::select! {
        () = sleep(pause) => false,
        () = publishing.recovered.notified() => true,
        () = converged(store, doorbell), if remaining == Remaining::Unrouted => true,
    }
}

/// Waits until a pass of any node has found the topology converged.
async fn converged(store: &Store, doorbell: &mut watch::Receiver<u64>) {
    // Never fails: the sender lives in the store.
    while doorbell.changed().await.is_ok() {
        let status = store.topology_status().await;
        if status.is_ok_and(|status| status.state == TopologyState::Converged) {
            return;
        }
    }
    std::future::pending::<()>().await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{clock::Clock, domain::report::TopologyStatus};

    const LONG: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_pause_ends_early_when_a_bus_takes_events_or_gets_its_missing_queue() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::sqlite(folder.path()).await.unwrap();
        let (publishing, mut doorbell) = (Publishing::new(&Clock::system()), store.doorbell());
        let mut ended = async |pause, remaining| {
            recovered(&publishing, &store, &mut doorbell, pause, remaining).await
        };
        assert!(!ended(Duration::ZERO, Remaining::Unrouted).await);
        publishing.recovered.notify_one();
        assert!(ended(LONG, Remaining::Events).await);
        let saved = async |state| {
            let status = TopologyStatus { state, ..TopologyStatus::default() };
            let lease = store.take(LeaseName::Passes, "n1").await.unwrap();
            lease.save_topology_status(&status).await.unwrap();
            lease.release().await;
        };
        saved(TopologyState::Unknown).await;
        let soon = Duration::from_millis(200);
        assert!(!ended(soon, Remaining::Unrouted).await);
        saved(TopologyState::Converged).await;
        assert!(ended(LONG, Remaining::Unrouted).await);
        // A pass finds nothing wrong every half minute while a queue has no leader.
        saved(TopologyState::Converged).await;
        assert!(!ended(soon, Remaining::Events).await);
    }
}
