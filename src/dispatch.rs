//! Dispatching events: a dispatched event is safe, or its caller gets an error.
//!
//! An event that cannot be published is kept as a dead letter of group `dispatch-failure`, with its
//! keys. hearken publishes kept events by itself until that group is empty (James ADR 27).

mod keep;
mod publishing;
mod redelivery;
mod redelivery_run;
mod retry_loop;

pub use redelivery::RedeliverError;
pub use redelivery_run::{RedeliveryRun, RedeliveryScope};

use crate::{
    bus::{DispatchError, EventBus, KeyListener, Outgoing, Registration, event::Event},
    clock::Clock,
    domain::{
        listener::Delivery,
        name::{BusName, RegistrationKey},
    },
    metrics::Metrics,
    roster::RosterService,
    store::Store,
};
use futures_util::future::join_all;
use keep::NotKept;
use publishing::Publishing;
use std::{collections::BTreeSet, sync::Arc};

/// Reason why a batch was not dispatched, or only in part.
#[derive(Debug, thiserror::Error)]
pub enum BatchError {
    /// The cluster has no such bus.
    #[error(transparent)]
    NoSuchBus(#[from] NoSuchBus),
    /// Some events of the batch were not accepted.
    #[error("{} of the events were not accepted", .failed.len())]
    NotAccepted {
        /// Ids of the events that are safe.
        accepted: Vec<String>,
        /// The events that are not safe.
        failed: Vec<NotAccepted>,
    },
}

/// An event of a batch that was not accepted.
#[derive(Debug)]
pub struct NotAccepted {
    /// Id of the event.
    pub id: String,
    /// Reason why the event was not accepted.
    pub error: DispatchError,
}

/// Refusal of a bus that the cluster does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no bus {0}")]
pub struct NoSuchBus(pub BusName);

/// Takes events for all buses. Cheap to clone.
#[derive(Clone)]
pub struct Dispatcher {
    bus: Arc<dyn EventBus>,
    store: Store,
    roster: Arc<RosterService>,
    publishing: Arc<Publishing>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

impl Dispatcher {
    /// A dispatcher to a bus. It keeps events that cannot be published in the store.
    #[must_use]
    pub fn new(
        bus: Arc<dyn EventBus>,
        store: Store,
        roster: Arc<RosterService>,
        metrics: Arc<Metrics>,
        clock: Clock,
    ) -> Self {
        let publishing = Arc::new(Publishing::new(&clock));
        Self { bus, store, roster, publishing, metrics, clock }
    }

    /// Makes a listener follow keys of a bus, as [`EventBus::register`] does.
    ///
    /// # Errors
    /// [`NoSuchBus`] when the cluster does not have the bus.
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

    /// Dispatches events, each with the keys whose followers are notified, in their order. On `Ok`
    /// each event is safe: the bus has it, or it is kept as a dispatch failure.
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
        let publishing = outgoing.iter().map(|outgoing| self.bus.publish(bus, outgoing));
        let outcomes = join_all(publishing).await;
        let (mut accepted, mut failed, mut store_is_away) = (Vec::new(), Vec::new(), false);
        for (outgoing, outcome) in outgoing.into_iter().zip(outcomes) {
            let kept = match outcome {
                Ok(()) => {
                    if self.publishing.succeeded(&bus.name) {
                        self.publishing.recovered.notify_one();
                    }
                    Ok(())
                }
                // The batch waits once for a database that is away, and not for each event.
                Err(error) if store_is_away => Err(NotKept::Store(error)),
                Err(error) => self.keep(&bus.name, &outgoing, error).await,
            };
            let id = outgoing.event.id;
            match kept {
                Ok(()) => accepted.push(id),
                Err(NotKept::Event(error)) => failed.push(NotAccepted { id, error }),
                Err(NotKept::Store(error)) => {
                    store_is_away = true;
                    failed.push(NotAccepted { id, error });
                }
            }
        }
        self.metrics.dispatched(&bus.name, accepted.len());
        if failed.is_empty() { Ok(()) } else { Err(BatchError::NotAccepted { accepted, failed }) }
    }

    /// Whether an event that reaches no queue of the bus is lost, because the bus has listeners.
    ///
    /// The roster that this node last read is enough. A listener that was added since then either
    /// has its queue bound, and gets the event, or counts as added after the event.
    fn has_listeners(&self, bus: &BusName) -> bool {
        let roster = self.roster.known();
        let mut listeners = roster.listeners().values().map(|configured| &configured.listener);
        listeners.any(|listener| listener.bus == *bus && listener.delivery == Delivery::Once)
    }
}
