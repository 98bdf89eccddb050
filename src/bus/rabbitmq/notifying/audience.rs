//! The listeners of this node that hear a bus's notifications and every-node events.

use super::{health::NotificationHealth, probe::ProbeEcho};
use crate::{
    bus::{
        KeyListener, Listener, NotificationFault, Registration,
        event::Event,
        registry::{InlineListeners, Meter, RegisteredInline, Registry},
    },
    clock::Clock,
    domain::{
        listener::ListenerSpec,
        name::{BusName, RegistrationKey},
    },
    metrics::Metrics,
};
use parking_lot::Mutex;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

/// The audience of each bus, made when a bus is first used.
pub(crate) struct Audiences {
    buses: Mutex<BTreeMap<BusName, Arc<BusAudience>>>,
    metrics: Arc<Metrics>,
    clock: Clock,
}

/// The listeners of one bus.
pub(crate) struct BusAudience {
    pub(super) registry: Registry,
    pub(super) health: NotificationHealth,
    pub(super) echo: ProbeEcho,
    /// Keys that got their first follower or lost their last. The task that listens to the bus
    /// holds the lock.
    pub(super) touched: tokio::sync::Mutex<mpsc::UnboundedReceiver<RegistrationKey>>,
    inline: InlineListeners,
}

impl Audiences {
    /// No audience yet.
    pub(crate) fn new(metrics: Arc<Metrics>, clock: Clock) -> Self {
        Self { buses: Mutex::default(), metrics, clock }
    }

    /// The audience of a bus.
    pub(crate) fn of(&self, bus: &BusName) -> Arc<BusAudience> {
        let mut buses = self.buses.lock();
        if let Some(audience) = buses.get(bus) {
            return Arc::clone(audience);
        }
        let meter = Meter { metrics: Arc::clone(&self.metrics), bus: bus.clone() };
        let audience = Arc::new(BusAudience::new(meter, self.clock.clone()));
        buses.insert(bus.clone(), Arc::clone(&audience));
        audience
    }
}

impl BusAudience {
    fn new(meter: Meter, clock: Clock) -> Self {
        let (registry, touched) = Registry::binding(meter);
        Self {
            registry,
            inline: InlineListeners::new(&clock),
            health: NotificationHealth::new(clock),
            echo: ProbeEcho::default(),
            touched: touched.into(),
        }
    }

    /// Registers a key listener.
    pub(crate) fn register(
        &self,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration {
        self.registry.register(keys, listener)
    }

    /// Adds a synchronous every-node listener, which runs inline until the place is dropped.
    pub(crate) fn enter(
        &self,
        spec: ListenerSpec,
        listener: Arc<dyn Listener>,
        slots: Arc<Semaphore>,
        abort: CancellationToken,
    ) -> RegisteredInline {
        self.inline.register(spec, listener, slots, abort)
    }

    /// Runs the synchronous listeners of an event that this node dispatches.
    pub(crate) async fn run_inline(&self, event: &Event, keys: &BTreeSet<RegistrationKey>) {
        tokio::join!(self.registry.call_sync(event, keys), self.inline.call(event));
    }

    /// Whether notifications arrive.
    pub(crate) fn check(&self) -> Result<(), NotificationFault> {
        self.health.check()
    }
}
