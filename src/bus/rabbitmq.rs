//! The event bus over RabbitMQ.
//!
//! Publishing and consuming use separate connections, because RabbitMQ stops reading from a
//! connection that publishes when it is short of memory, and consumers must go on to relieve it.
//! Nothing here declares an exchange or a work queue: what is missing is waited for.

mod changes;
mod consumer;
mod delivery;
mod message;
mod node_queue;
mod outage;
mod publisher;

use super::{
    Consumer, Consumption, DispatchError, EventBus, Handler, TopologyChanged, codec, event::Event,
};
use crate::{
    amqp::{Amqp, AmqpError, AmqpUrl, Purpose},
    domain::{layout::Layout, name::BusName},
};
use async_trait::async_trait;
use backon::{ExponentialBuilder, Retryable};
use lapin::{BasicProperties, types::ShortString};
use publisher::{Message, Published, Publisher};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{broadcast, watch},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// The routing key under which changes of the topology are broadcast.
const TOPOLOGY_KEY: &str = "topology";

/// How long a broadcast may take. It is a hint: whoever misses it follows its timer.
const ANNOUNCE_LIMIT: Duration = Duration::from_secs(5);

/// How many broadcasts are kept for a slow receiver, which is told when it missed some.
const CHANGES: usize = 64;

/// What the bus needs to know.
#[derive(Debug, Clone)]
pub struct RabbitMqBusConfig {
    /// `--amqp-url`.
    pub amqp_url: AmqpUrl,
    /// The layout.
    pub layout: Layout,
    /// This node: part of its queues' names and of what operators see.
    pub node: String,
}

/// The event bus over RabbitMQ.
pub struct RabbitMqBus {
    shared: Arc<Shared>,
    subscriptions: Mutex<BTreeMap<BusName, DropGuard>>,
}

/// What the bus's tasks have in common.
struct Shared {
    consuming: Amqp,
    publishing: Arc<Amqp>,
    publisher: Publisher,
    layout: Layout,
    node: String,
    wake: watch::Sender<u64>,
    changes: broadcast::Sender<TopologyChanged>,
    resyncs: watch::Sender<u64>,
}

impl RabbitMqBus {
    /// A bus that has not connected yet.
    #[must_use]
    pub fn new(config: RabbitMqBusConfig) -> Self {
        let RabbitMqBusConfig { amqp_url, layout, node } = config;
        let publishing = Arc::new(Amqp::new(amqp_url.clone(), &node, Purpose::Publish));
        let shared = Shared {
            consuming: Amqp::new(amqp_url, &node, Purpose::Consume),
            publisher: Publisher::new(Arc::clone(&publishing)),
            publishing,
            layout,
            node,
            wake: watch::Sender::default(),
            changes: broadcast::Sender::new(CHANGES),
            resyncs: watch::Sender::default(),
        };
        Self { shared: Arc::new(shared), subscriptions: Mutex::default() }
    }

    /// Listens to the topology broadcasts of these buses and of no others. Needs a runtime.
    pub fn set_buses(&self, buses: &BTreeSet<BusName>) {
        let mut running = self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner);
        running.retain(|bus, _| buses.contains(bus));
        for bus in buses {
            running.entry(bus.clone()).or_insert_with(|| {
                let stop = CancellationToken::new();
                tokio::spawn(changes::follow(Arc::clone(&self.shared), bus.clone(), stop.clone()));
                stop.drop_guard()
            });
        }
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
    /// refusal is not tried again.
    async fn publish(&self, exchange: &str, message: &Message) -> Result<Published, AmqpError> {
        let tries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(2)
            .with_jitter();
        (async || self.publisher.publish(exchange, message.clone()).await)
            .retry(tries)
            .when(AmqpError::is_transient)
            .await
    }
}

#[async_trait]
impl EventBus for RabbitMqBus {
    async fn dispatch(
        &self,
        bus: &BusName,
        event: &Event,
        has_listeners: bool,
    ) -> Result<(), DispatchError> {
        if event.noop {
            return Ok(());
        }
        let mut properties = BasicProperties::default()
            .with_content_type(codec::CLOUDEVENTS_JSON.into())
            .with_delivery_mode(message::PERSISTENT);
        // An identity that AMQP has no room for still travels in the body.
        if let Ok(id) = ShortString::try_new(event.id.as_str()) {
            properties = properties.with_message_id(id);
        }
        let body = codec::encode_cloudevent(event);
        let message = Message::new(ShortString::default(), body, properties);
        let exchange = self.shared.layout.main(bus);
        let unavailable = |source: Option<AmqpError>| DispatchError::Unavailable {
            what: format!("publishing event {} to exchange {exchange}", event.id),
            source: source.map(Into::into),
        };
        match self.shared.publish(&exchange, &message).await {
            Ok(Published::Routed) => Ok(()),
            Ok(Published::Returned) if !has_listeners => Ok(()),
            Ok(Published::Returned) => Err(DispatchError::Unroutable(bus.clone())),
            Err(error) => Err(unavailable(Some(error))),
        }
    }

    fn consume(&self, consumption: Consumption, handler: Arc<dyn Handler>) -> Consumer {
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
        if shared.publishing.is_blocked().await {
            let address = shared.publishing.address();
            return Err(format!(
                "RabbitMQ at {address} takes no events: it is short of memory or disk"
            ));
        }
        Ok(())
    }

    async fn close(&self) {
        self.subscriptions.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.shared.publisher.close();
        tokio::join!(self.shared.publishing.close(), self.shared.consuming.close());
    }
}
