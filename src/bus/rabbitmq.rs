//! The event bus over RabbitMQ.
//!
//! Publishing and consuming use separate connections, because RabbitMQ stops reading from a
//! connection that publishes when it is short of memory, and consumers must go on to relieve it.
//! Nothing here declares an exchange or a work queue: what is missing is waited for.

mod binder;
mod consumer;
mod delivery;
mod headers;
mod interruption;
mod letters;
mod message;
mod node_queue;
mod notifications;
mod notify;
mod parked;
mod publisher;

use super::{
    Consumer, Consumption, DispatchError, EventBus, KeyListener, Listener, Outgoing, Redelivery,
    Registration, TopologyChanged,
    codec::{self, Encoded},
};
use crate::{
    amqp::{Amqp, AmqpError, AmqpUrl, LIMIT, Purpose},
    clock,
    domain::{
        bus::{BusDefinition, Buses},
        layout::Layout,
        name::{BusName, GroupName, RegistrationKey},
    },
    metrics::Metrics,
    store::Store,
};
use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use futures_util::future::BoxFuture;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use letters::Keeper;
use notifications::Notifications;
use parking_lot::Mutex;
use publisher::{Message, Published, Publisher};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The routing key under which changes of the topology are broadcast.
const TOPOLOGY_KEY: &str = "hearken:topology";

/// How long a broadcast may take. It is a hint: whoever misses it follows its timer.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(5);

/// How many broadcasts are kept for a slow receiver, which is told when it missed some.
const CHANGES: usize = 64;

/// What the bus needs to know.
#[derive(Clone)]
pub struct RabbitMqBusConfig {
    /// `--amqp-url`.
    pub amqp_url: AmqpUrl,
    /// The layout.
    pub layout: Layout,
    /// This node: part of its queues' names and of what operators see.
    pub node: String,
    /// Where events are kept that are given up.
    pub store: Store,
    /// How often what is parked is looked for: [`COLLECT_EVERY`].
    pub collect_every: Duration,
    /// Whether the events of a group that is gone are dropped instead of kept when they come back.
    pub discards: Discards,
    /// The counters of this process.
    pub metrics: Arc<Metrics>,
}

/// Says of a group whether its events are dropped, by the roster of now: what is dropped is gone.
pub type Discards = Arc<dyn Fn(GroupName) -> BoxFuture<'static, bool> + Send + Sync>;

/// How often a node looks for what is parked.
pub const COLLECT_EVERY: Duration = Duration::from_secs(30);

/// The event bus over RabbitMQ.
pub struct RabbitMqBus {
    shared: Arc<Shared>,
    subscriptions: Mutex<BTreeMap<BusName, Subscription>>,
}

/// A bus that this node listens to, until it is dropped.
struct Subscription {
    bus: BusDefinition,
    _stop: DropGuard,
}

/// What the bus's tasks have in common.
struct Shared {
    consuming: Amqp,
    publishing: Arc<Amqp>,
    publisher: Publisher,
    layout: Layout,
    node: String,
    letters: Keeper,
    collect_every: Duration,
    discards: Discards,
    wake: watch::Sender<u64>,
    changes: broadcast::Sender<TopologyChanged>,
    resyncs: watch::Sender<u64>,
    notifications: Notifications,
}

impl RabbitMqBus {
    /// A bus that has not connected yet.
    #[must_use]
    pub fn new(config: RabbitMqBusConfig) -> Self {
        let RabbitMqBusConfig { amqp_url, layout, node, store, collect_every, discards, metrics } =
            config;
        let publishing = Arc::new(
            Amqp::new(amqp_url.clone(), &node, Purpose::Publish).counted(Arc::clone(&metrics)),
        );
        let shared = Shared {
            consuming: Amqp::new(amqp_url, &node, Purpose::Consume).counted(Arc::clone(&metrics)),
            publisher: Publisher::new(Arc::clone(&publishing)),
            publishing,
            layout,
            node,
            letters: Keeper::new(store, Arc::clone(&metrics)),
            collect_every,
            discards,
            wake: watch::Sender::default(),
            changes: broadcast::Sender::new(CHANGES),
            resyncs: watch::Sender::default(),
            notifications: Notifications::new(metrics),
        };
        Self { shared: Arc::new(shared), subscriptions: Mutex::default() }
    }

    /// Listens to the notifications and topology broadcasts of these buses and of no others, and
    /// collects what is parked on them. Needs a runtime.
    pub fn set_buses(&self, buses: &Buses) {
        let mut running = self.subscriptions.lock();
        running.retain(|name, subscription| buses.get(name) == Some(&subscription.bus));
        drop(running);
        for bus in buses.values() {
            self.listen(bus);
        }
    }

    fn listen(&self, bus: &BusDefinition) {
        let mut running = self.subscriptions.lock();
        running.entry(bus.name.clone()).or_insert_with(|| {
            let (shared, stop) = (Arc::clone(&self.shared), CancellationToken::new());
            let name = bus.name.clone();
            tokio::spawn(parked::collect(Arc::clone(&shared), name, stop.clone()));
            tokio::spawn(notifications::follow(shared, bus.clone(), stop.clone()));
            Subscription { bus: bus.clone(), _stop: stop.drop_guard() }
        });
    }

    /// Counts how often this node began to listen to broadcasts: what was broadcast before is
    /// missed, so whoever watches should look at the topology again.
    #[must_use]
    pub fn resyncs(&self) -> watch::Receiver<u64> {
        self.shared.resyncs.subscribe()
    }
}

impl Shared {
    /// Tries thrice, since a duplicate costs less than an event that its producer gives up. A
    /// refusal is not tried again, nor is what one queue did not take: the others have it, and
    /// would have it once more with each try of the seconds in which a queue has no leader. All of
    /// that takes [`LIMIT`] at most.
    async fn publish(&self, exchange: &str, message: &Message) -> Result<Published, AmqpError> {
        let tries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(2)
            .with_jitter();
        let trying = (async || self.publisher.publish(exchange, message.clone()).await)
            .retry(tries)
            .when(|error| error.is_transient() && !matches!(error, AmqpError::NotTaken { .. }));
        match timeout(LIMIT, trying).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AmqpError::silent(self.publishing.address())),
        }
    }

    /// What an event says of itself beside its body. On an exchange of James it is what James
    /// writes, whose consumers die of a message that does not name its publisher, and nothing else.
    fn properties(
        &self,
        bus: &BusDefinition,
        outgoing: &Outgoing,
        content_type: &str,
    ) -> BasicProperties {
        let event = &outgoing.event;
        let properties = BasicProperties::default()
            .with_content_type(content_type.into())
            .with_delivery_mode(message::PERSISTENT);
        let mut headers = self.signature(bus, outgoing.kept_by.as_deref());
        if bus.attached {
            return properties.with_headers(headers);
        }
        let published_at = AMQPValue::LongLongInt(clock::to_micros(clock::now()));
        headers.insert(headers::PUBLISHED_AT.into(), published_at);
        let mut properties =
            properties.with_timestamp(seconds()).with_app_id(APP.into()).with_headers(headers);
        // What AMQP has no room for still travels in the body.
        if let Ok(id) = ShortString::try_new(event.id.as_str()) {
            properties = properties.with_message_id(id);
        }
        if let Ok(kind) = ShortString::try_new(event.kind.as_str()) {
            properties = properties.with_type(kind);
        }
        properties
    }
}

/// What publishes, as operators see it.
const APP: &str = "hearken";

/// Now, as AMQP has it.
fn seconds() -> u64 {
    u64::try_from(clock::now().unix_timestamp()).unwrap_or_default()
}

fn unavailable(what: String, source: Option<AmqpError>) -> DispatchError {
    DispatchError::Unavailable { what, source: source.map(Into::into) }
}

#[async_trait]
impl EventBus for RabbitMqBus {
    async fn publish(&self, bus: &BusDefinition, outgoing: &Outgoing) -> Result<(), DispatchError> {
        let event = &outgoing.event;
        if event.noop {
            return Ok(());
        }
        let shared = &self.shared;
        let Encoded { content_type, body } = codec::encode(bus.codec, event)?;
        let following = shared.notifications.of(&bus.name);
        if outgoing.kept_by.is_none() {
            tokio::join!(
                following.registry.call_sync(event, &outgoing.keys),
                following.inline.call(event)
            );
        }
        let properties = shared.properties(bus, outgoing, content_type);
        let exchange = shared.layout.events(bus);
        let notification = if outgoing.keys.is_empty() { Vec::new() } else { body.clone() };
        let message = Message::new(ShortString::default(), body, properties);
        match shared.publish(&exchange, &message).await {
            Ok(Published::Returned) if outgoing.must_route => {
                return Err(DispatchError::Unroutable(bus.name.clone()));
            }
            Ok(Published::Routed | Published::Returned) => {}
            Err(error) => {
                let what = format!("publishing event {} to exchange {exchange}", event.id);
                return Err(unavailable(what, Some(error)));
            }
        }
        shared.notify(bus, &notification, content_type, outgoing).await;
        Ok(())
    }

    async fn redeliver(
        &self,
        bus: &BusDefinition,
        redelivery: &Redelivery,
    ) -> Result<(), DispatchError> {
        let Redelivery { group, content_type, body, previous, .. } = redelivery;
        let exchange = self.shared.layout.returns(&bus.name);
        let what = || format!("redelivering an event to group {group} through exchange {exchange}");
        let mut headers = FieldTable::default();
        let previous = AMQPValue::LongString(previous.to_string().into());
        headers.insert(headers::PREVIOUS.into(), previous);
        let mut properties = BasicProperties::default()
            .with_delivery_mode(message::PERSISTENT)
            .with_timestamp(seconds())
            .with_app_id(APP.into())
            .with_headers(headers);
        let short =
            |text: &str| crate::amqp::name(text).map_err(|error| unavailable(what(), Some(error)));
        if let Some(content_type) = content_type {
            properties = properties.with_content_type(short(content_type)?);
        }
        let message = Message::new(short(group.as_str())?, body.clone(), properties);
        match self.shared.publish(&exchange, &message).await {
            Ok(Published::Routed) => Ok(()),
            Ok(Published::Returned) => Err(unavailable(what() + ": it has no queue", None)),
            Err(error) => Err(unavailable(what(), Some(error))),
        }
    }

    fn register(
        &self,
        bus: &BusDefinition,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration {
        self.listen(bus);
        self.shared.notifications.of(&bus.name).registry.register(keys, listener)
    }

    fn notifications(&self, bus: &BusName) -> Result<(), String> {
        self.shared.notifications.of(bus).check()
    }

    fn consume(&self, consumption: Consumption, handler: Arc<dyn Listener>) -> Consumer {
        consumer::start(Arc::clone(&self.shared), consumption, handler)
    }

    fn wake(&self) {
        self.shared.wake.send_modify(|count| *count = count.wrapping_add(1));
    }

    async fn announce(&self, change: &TopologyChanged) {
        let body = serde_json::to_vec(change).expect("names and a number are always JSON");
        let properties = BasicProperties::default().with_content_type("application/json".into());
        let message = Message::new(TOPOLOGY_KEY.into(), body, properties).optional();
        let exchange = self.shared.layout.keys(&change.bus);
        let publishing = self.shared.publisher.publish(&exchange, message);
        let failure = match timeout(ANNOUNCE_LIMIT, publishing).await {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it took too long".to_owned(),
        };
        tracing::debug!(
            bus = %change.bus,
            version = change.version,
            failure,
            "the change of the topology was not broadcast; nodes follow their timer"
        );
    }

    fn changes(&self) -> broadcast::Receiver<TopologyChanged> {
        self.shared.changes.subscribe()
    }

    async fn health(&self) -> Result<(), String> {
        let shared = &self.shared;
        for amqp in [&shared.consuming, shared.publishing.as_ref()] {
            amqp.channel().await.map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    async fn close(&self) {
        self.subscriptions.lock().clear();
        self.shared.publisher.close();
        tokio::join!(self.shared.publishing.close(), self.shared.consuming.close());
    }
}
