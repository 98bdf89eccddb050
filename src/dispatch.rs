//! Dispatching: an event is safe, or its caller is told.
//!
//! What cannot be published is kept as a dead letter of group `dispatch-failure`, with its keys,
//! and published again by itself until that group is empty (James ADR 27).

mod keep;
mod put_back;
mod redelivery_run;
mod retry_loop;

pub use put_back::RedeliverError;
pub use redelivery_run::{RedeliveryRun, RedeliveryScope};

use crate::{
    bus::{DispatchError, EventBus, KeyListener, Outgoing, Registration, event::Event},
    domain::{
        listener::Delivery,
        name::{BusName, RegistrationKey},
    },
    metrics::Metrics,
    roster::RosterService,
    store::Store,
};
use futures_util::future::join_all;
use keep::{Outages, Unkept};
use std::{collections::BTreeSet, sync::Arc};

/// Why a batch was not dispatched, or only in part.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// It was for a bus that is not there.
    #[error(transparent)]
    NoSuchBus(#[from] NoSuchBus),
    /// Some of its events were not accepted.
    #[error("{} of the events were not accepted", .failed.len())]
    NotAccepted {
        /// The ids of those that are safe.
        accepted: Vec<String>,
        /// The ids of those that are not, with why.
        failed: Vec<(String, DispatchError)>,
    },
}

/// The cluster has no such bus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no bus {0}")]
pub struct NoSuchBus(pub BusName);

/// Takes events for any bus. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    bus: Arc<dyn EventBus>,
    store: Store,
    roster: Arc<RosterService>,
    outages: Arc<Outages>,
    metrics: Arc<Metrics>,
}

impl Dispatcher {
    /// A dispatcher to a bus, that keeps in a store what cannot be published.
    #[must_use]
    pub fn new(
        bus: Arc<dyn EventBus>,
        store: Store,
        roster: Arc<RosterService>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { bus, store, roster, outages: Arc::default(), metrics }
    }

    /// Follows keys of a bus, as [`EventBus::register`] does.
    ///
    /// # Errors
    /// [`NoSuchBus`].
    pub fn register(
        &self,
        bus: &BusName,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Result<Registration, NoSuchBus> {
        let buses = self.roster.buses();
        let bus = buses.get(bus).ok_or_else(|| NoSuchBus(bus.clone()))?;
        Ok(self.bus.register(bus, keys, listener))
    }

    /// Dispatches events, each with the keys that are notified of it, in order as far as one node
    /// can tell. On `Ok` each of them is safe: in the broker or kept as a dispatch failure.
    ///
    /// # Errors
    /// [`BatchError`] names the events that are not safe; the caller has the only copies.
    pub async fn dispatch(
        &self,
        bus: &BusName,
        events: Vec<(Event, BTreeSet<RegistrationKey>)>,
    ) -> Result<(), BatchError> {
        let buses = self.roster.buses();
        let bus = buses.get(bus).ok_or_else(|| NoSuchBus(bus.clone()))?;
        let must_route = self.has_listeners(&bus.name);
        let outgoing: Vec<_> = (events.into_iter())
            .map(|(event, keys)| Outgoing { event, keys, must_route, kept_by: None })
            .collect();
        let outcomes = join_all(outgoing.iter().map(|one| self.bus.publish(bus, one))).await;
        let (mut accepted, mut failed, mut away) = (Vec::new(), Vec::new(), false);
        for (one, outcome) in outgoing.into_iter().zip(outcomes) {
            match outcome {
                Ok(()) => {
                    if self.outages.over(&bus.name) {
                        self.outages.recovered.notify_one();
                    }
                    accepted.push(one.event.id);
                }
                // A database that is away is waited for once, and not for each event.
                Err(error) if away => failed.push((one.event.id, error)),
                Err(error) => match self.keep(&bus.name, &one, error).await {
                    Ok(()) => accepted.push(one.event.id),
                    Err(Unkept::Event(error)) => failed.push((one.event.id, error)),
                    Err(Unkept::Store(error)) => {
                        away = true;
                        failed.push((one.event.id, error));
                    }
                },
            }
        }
        self.metrics.dispatched(&bus.name, accepted.len());
        if failed.is_empty() { Ok(()) } else { Err(BatchError::NotAccepted { accepted, failed }) }
    }

    /// Whether an event that reaches no queue is lost. What this node last read of the roster will
    /// do: a listener that is newer than that has its queue bound, and then the event reaches it,
    /// or has it not, and then it was added while the event was on its way.
    fn has_listeners(&self, bus: &BusName) -> bool {
        let roster = self.roster.known();
        let mut listeners = roster.listeners().values().map(|configured| &configured.listener);
        listeners.any(|listener| listener.bus == *bus && listener.delivery == Delivery::Once)
    }
}
