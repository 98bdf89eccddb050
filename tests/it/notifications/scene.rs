//! Both buses, with two nodes where there can be two, and a listener that remembers.

use crate::{
    broker::contract::bus,
    rabbit_bus::scene::{self as rabbit, Scene, event},
    support::{
        bus::{keys, plain},
        wait,
    },
};
use async_trait::async_trait;
use hearken::{
    broker::{Broker, local::LocalBroker},
    bus::{EventBus, Failure, KeyListener, Outgoing, Registration, event::Event, local::LocalBus},
    domain::{
        bus::BusDefinition,
        layout::{Flavor, Layout},
        listener::Mode,
        name::{BusName, RegistrationKey},
        plan::Action,
        topology::ExchangeKind,
    },
    store::embedded::Occupancy,
};
use std::{
    any::Any,
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::Semaphore;

/// A bus as two nodes see it. In the process they are one.
pub(crate) struct Ground {
    pub(crate) here: Arc<dyn EventBus>,
    pub(crate) there: Arc<dyn EventBus>,
    _keep: Box<dyn Any>,
}

/// A second bus of the cluster.
pub(crate) fn other_bus() -> BusDefinition {
    BusDefinition::plain(BusName::parse("jmapEvent").unwrap())
}

pub(crate) async fn local() -> Ground {
    let store = rabbit::store().await;
    let (prefix, cluster) = ("hearken".to_owned(), store.cluster_id());
    let layout = Layout { prefix, cluster, flavor: Flavor::Local, ..Layout::default() };
    let occupancy = Occupancy::default();
    let embedded = store.embedded().unwrap();
    let broker = LocalBroker::new(embedded.clone(), layout.clone(), occupancy.clone());
    for name in [bus(), other_bus().name] {
        let main = layout.exchange(layout.main(&name), ExchangeKind::Direct);
        broker.apply(&Action::DeclareExchange(main)).await.unwrap();
    }
    let here: Arc<dyn EventBus> =
        Arc::new(LocalBus::new(embedded, layout, occupancy, "n1", Arc::default()));
    Ground { there: Arc::clone(&here), here, _keep: Box::new(()) }
}

pub(crate) async fn rabbitmq() -> Ground {
    let scene = rabbit::scene(&[]).await;
    let here = Arc::new(scene.bus("n1"));
    let there = Arc::new(scene.bus("n2"));
    for exchange in [scene.layout.main(&other_bus().name), scene.layout.keys(&other_bus().name)] {
        let exchange = scene.layout.exchange(exchange, ExchangeKind::Direct);
        scene.broker.apply(&Action::DeclareExchange(exchange)).await.unwrap();
    }
    Ground { here, there, _keep: Box::new(scene) }
}

/// Two nodes on RabbitMQ whose broker the test may look at.
pub(crate) async fn nodes() -> (Scene, Arc<dyn EventBus>, Arc<dyn EventBus>) {
    let scene = rabbit::scene(&[]).await;
    let (one, two) = (scene.bus("n1"), scene.bus("n2"));
    (scene, Arc::new(one), Arc::new(two))
}

/// Dispatches an event with keys.
pub(crate) async fn send<const N: usize>(node: &Arc<dyn EventBus>, id: &str, of: [&str; N]) {
    dispatch(node, &plain(&bus()), event(id), keys(of)).await;
}

pub(crate) async fn dispatch(
    node: &Arc<dyn EventBus>,
    bus: &BusDefinition,
    event: Event,
    keys: BTreeSet<RegistrationKey>,
) {
    let outgoing = Outgoing { event, keys, must_route: false, kept_by: None };
    node.publish(bus, &outgoing).await.expect("the bus takes it");
}

/// Registers, and waits until notifications arrive.
pub(crate) async fn follow<const N: usize>(
    node: &Arc<dyn EventBus>,
    of: [&str; N],
    listener: &Arc<Follower>,
) -> Registration {
    follow_on(node, &plain(&bus()), of, listener).await
}

pub(crate) async fn follow_on<const N: usize>(
    node: &Arc<dyn EventBus>,
    bus: &BusDefinition,
    of: [&str; N],
    listener: &Arc<Follower>,
) -> Registration {
    let listener: Arc<dyn KeyListener> = Arc::clone(listener) as _;
    let registration = node.register(bus, keys(of), listener);
    established(&registration).await;
    registration
}

pub(crate) async fn established(registration: &Registration) {
    let limit = std::time::Duration::from_mins(1);
    tokio::time::timeout(limit, registration.established()).await.expect("it is established");
}

/// A key listener that remembers.
pub(crate) struct Follower {
    mode: Mode,
    seen: Mutex<Vec<(String, BTreeSet<RegistrationKey>)>>,
    pub(crate) gate: Semaphore,
    running: AtomicUsize,
    most: AtomicUsize,
    resynchronised: AtomicUsize,
}

pub(crate) fn follower(mode: Mode) -> Arc<Follower> {
    gated(mode, Semaphore::MAX_PERMITS)
}

/// Lets so many executions end.
pub(crate) fn gated(mode: Mode, passes: usize) -> Arc<Follower> {
    Arc::new(Follower {
        mode,
        seen: Mutex::default(),
        gate: Semaphore::new(passes),
        running: AtomicUsize::new(0),
        most: AtomicUsize::new(0),
        resynchronised: AtomicUsize::new(0),
    })
}

impl Follower {
    pub(crate) fn ids(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|(id, _)| id.clone()).collect()
    }

    /// With which of its keys it was called.
    pub(crate) fn keys(&self) -> Vec<BTreeSet<RegistrationKey>> {
        self.seen.lock().unwrap().iter().map(|(_, keys)| keys.clone()).collect()
    }

    pub(crate) fn most(&self) -> usize {
        self.most.load(Ordering::SeqCst)
    }

    pub(crate) fn running(&self) -> usize {
        self.running.load(Ordering::SeqCst)
    }

    pub(crate) fn resynchronised(&self) -> usize {
        self.resynchronised.load(Ordering::SeqCst)
    }

    /// Waits until it was called so often.
    pub(crate) async fn called(&self, times: usize) -> Vec<String> {
        let what = format!("{times} notifications");
        wait::until(&what, async || Some(self.ids()).filter(|ids| ids.len() >= times)).await
    }
}

#[async_trait]
impl KeyListener for Follower {
    fn mode(&self) -> Mode {
        self.mode
    }

    fn is_handling(&self, event: &Event) -> bool {
        event.kind != "Unsupported"
    }

    async fn on_notification(
        &self,
        event: &Event,
        keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure> {
        self.seen.lock().unwrap().push((event.id.clone(), keys.clone()));
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.gate.acquire().await.unwrap().forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
        match event.id.as_str() {
            "fails" => Err(Failure::new("on purpose")),
            "panics" => panic!("on purpose"),
            _ => Ok(()),
        }
    }

    fn resynchronise(&self) {
        self.resynchronised.fetch_add(1, Ordering::SeqCst);
    }
}
