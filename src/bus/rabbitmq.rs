//! The event bus over RabbitMQ.
//!
//! Publishing and consuming use separate connections: RabbitMQ stops reading from a connection that
//! publishes when it is short of memory, and consumers must go on to relieve it. The bus declares
//! no exchange and no work queue. It waits for those that are missing.
//!
//! # Rooms
//! Each part owns its state, and gets the parts that it uses when the bus is made.
//! - `publishing`: events and copies of events, with confirms.
//! - `consuming`: the consumers of this node, and their deliveries.
//! - `retrying`: what becomes of an event that failed; **chooses the pause before a retry**.
//! - `keeping`: dead letters into the database.
//! - `notifying`: notifications and broadcasts, out and in.
//! - `collecting`: parked messages into the database.
//! - `headers`, `signer`, `node_queue`, `held_delivery`, `wake`, `interruption`: pieces that
//!   several parts use.

mod collecting;
mod config;
mod consuming;
mod headers;
mod held_delivery;
mod interruption;
mod keeping;
mod node_queue;
mod notifying;
mod publishing;
mod retrying;
mod signer;
mod wake;

pub use collecting::{DiscardNothing, DiscardRule};
pub use config::{COLLECT_EVERY, RabbitMqBusConfig};

use super::{
    BusUnreachable, Consumer, Consumption, DispatchError, EventBus, KeyListener, Listener,
    NotificationFault, Outgoing, Redelivery, Registration, TopologyChanged, codec,
};
use crate::{
    amqp::{Amqp, Purpose, Scout},
    background,
    domain::{
        bus::{BusDefinition, Buses},
        name::{BusName, RegistrationKey},
    },
};
use async_trait::async_trait;
use collecting::Collector;
use consuming::{Consuming, InterruptedConsumers};
use keeping::DeadLetterKeeper;
use node_queue::NodeQueues;
use notifying::{Audiences, Broadcasts, NotificationReceiver, Notifier};
use parking_lot::Mutex;
use publishing::{EventPublisher, Payload, Publisher};
use signer::Signer;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::sync::{broadcast, watch};
use tokio_util::sync::{CancellationToken, DropGuard};
use wake::Wake;

/// The event bus over RabbitMQ.
pub struct RabbitMqBus {
    publishing: Arc<Amqp>,
    publisher: Arc<Publisher>,
    events: EventPublisher,
    notifier: Notifier,
    broadcasts: Arc<Broadcasts>,
    consuming: Consuming,
    receiver: Arc<NotificationReceiver>,
    collector: Arc<Collector>,
    subscriptions: Mutex<BTreeMap<BusName, Subscription>>,
}

/// A bus that this node listens to until the subscription is dropped.
struct Subscription {
    bus: BusDefinition,
    _stop: DropGuard,
}

impl RabbitMqBus {
    /// A bus that has not connected yet.
    #[must_use]
    pub fn new(config: RabbitMqBusConfig) -> Self {
        let RabbitMqBusConfig {
            amqp_url,
            layout,
            node,
            store,
            collect_every,
            discards,
            metrics,
            clock,
        } = config;
        let connection = |purpose| {
            let amqp = Amqp::new(amqp_url.clone(), &node, purpose);
            Arc::new(amqp.counted(Arc::clone(&metrics)))
        };
        let (publishing, amqp) = (connection(Purpose::Publish), connection(Purpose::Consume));
        let scout = Arc::new(Scout::new(amqp_url.clone(), &node));
        let publisher = Publisher::new(Arc::clone(&publishing), Arc::clone(&scout), clock.clone());
        let publisher = Arc::new(publisher);
        let signer = Arc::new(Signer::new(&node));
        let broadcasts = Arc::new(Broadcasts::new(&publisher, &layout));
        let consuming = Consuming {
            node_queues: NodeQueues::new(&amqp, &layout, &node),
            audiences: Arc::new(Audiences::new(Arc::clone(&metrics), clock.clone())),
            amqp,
            scout,
            interrupted: InterruptedConsumers::new(&clock),
            publisher,
            keeper: Arc::new(DeadLetterKeeper::new(store, metrics, &clock)),
            signer,
            wake: Wake::default(),
            layout,
            node,
            clock,
        };
        let Consuming { publisher, signer, layout, clock, .. } = &consuming;
        Self {
            events: EventPublisher::new(publisher, signer, layout, clock),
            notifier: Notifier::new(publisher, signer, layout),
            receiver: Arc::new(receiver(&consuming, &broadcasts)),
            collector: Arc::new(collector(&consuming, discards, collect_every)),
            publisher: Arc::clone(publisher),
            publishing,
            broadcasts,
            consuming,
            subscriptions: Mutex::default(),
        }
    }

    /// Listens to the notifications and topology broadcasts of these buses and of no others, and
    /// collects their parked messages. Needs a runtime.
    pub fn set_buses(&self, buses: &Buses) {
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.retain(|name, subscription| buses.get(name) == Some(&subscription.bus));
        drop(subscriptions);
        for bus in buses.values() {
            self.listen(bus);
        }
    }

    fn listen(&self, bus: &BusDefinition) {
        let mut subscriptions = self.subscriptions.lock();
        subscriptions.entry(bus.name.clone()).or_insert_with(|| {
            let stop = CancellationToken::new();
            let collecting = Arc::clone(&self.collector).run(bus.name.clone(), stop.clone());
            background::spawn_loop("the collector of parked messages", collecting);
            let listening = Arc::clone(&self.receiver).run(bus.clone(), stop.clone());
            background::spawn_loop("the receiver of notifications", listening);
            Subscription { bus: bus.clone(), _stop: stop.drop_guard() }
        });
    }

    /// Number of times that this node began to listen to broadcasts. Earlier broadcasts are missed,
    /// so a watcher of the topology should look at it again when the number changes.
    #[must_use]
    pub fn resyncs(&self) -> watch::Receiver<u64> {
        self.broadcasts.starts()
    }
}

fn receiver(consuming: &Consuming, broadcasts: &Arc<Broadcasts>) -> NotificationReceiver {
    NotificationReceiver {
        amqp: Arc::clone(&consuming.amqp),
        publisher: Arc::clone(&consuming.publisher),
        node_queues: consuming.node_queues.clone(),
        layout: consuming.layout.clone(),
        signer: Arc::clone(&consuming.signer),
        audiences: Arc::clone(&consuming.audiences),
        broadcasts: Arc::clone(broadcasts),
        wake: consuming.wake.clone(),
        clock: consuming.clock.clone(),
    }
}

fn collector(consuming: &Consuming, discards: Arc<dyn DiscardRule>, every: Duration) -> Collector {
    Collector {
        amqp: Arc::clone(&consuming.amqp),
        layout: consuming.layout.clone(),
        keeper: Arc::clone(&consuming.keeper),
        discards,
        every,
        node: consuming.node.clone(),
        clock: consuming.clock.clone(),
    }
}

#[async_trait]
impl EventBus for RabbitMqBus {
    fn listen_to(&self, buses: &Buses) {
        self.set_buses(buses);
    }

    async fn publish(&self, bus: &BusDefinition, outgoing: &Outgoing) -> Result<(), DispatchError> {
        if outgoing.event.noop {
            return Ok(());
        }
        let payload = Payload::from(codec::encode(bus.codec, &outgoing.event)?);
        if outgoing.kept_by.is_none() {
            let audience = self.consuming.audiences.of(&bus.name);
            audience.run_inline(&outgoing.event, &outgoing.keys).await;
        }
        self.events.publish(bus, outgoing, &payload).await?;
        self.notifier.notify(bus, outgoing, &payload).await;
        Ok(())
    }

    async fn redeliver(
        &self,
        bus: &BusDefinition,
        redelivery: &Redelivery,
    ) -> Result<(), DispatchError> {
        self.events.redeliver(bus, redelivery).await
    }

    fn register(
        &self,
        bus: &BusDefinition,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration {
        self.listen(bus);
        self.consuming.audiences.of(&bus.name).register(keys, listener)
    }

    fn notifications(&self, bus: &BusName) -> Result<(), NotificationFault> {
        self.consuming.audiences.of(bus).check()
    }

    fn consume(&self, consumption: Consumption, listener: Arc<dyn Listener>) -> Consumer {
        self.consuming.start(consumption, listener)
    }

    fn wake(&self) {
        self.consuming.wake.call();
    }

    async fn announce(&self, change: &TopologyChanged) {
        self.broadcasts.announce(change).await;
    }

    fn changes(&self) -> broadcast::Receiver<TopologyChanged> {
        self.broadcasts.subscribe()
    }

    async fn health(&self) -> Result<(), BusUnreachable> {
        for amqp in [&self.consuming.amqp, &self.publishing] {
            amqp.channel().await?;
        }
        Ok(())
    }

    async fn close(&self) {
        self.subscriptions.lock().clear();
        self.publisher.close();
        let Consuming { amqp, scout, .. } = &self.consuming;
        tokio::join!(self.publishing.close(), amqp.close(), scout.close());
    }
}
