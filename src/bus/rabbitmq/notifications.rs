//! What this node hears on a bus: notifications, changes of the topology, and its own probes.
//!
//! One queue per bus, of this node's own and gone with its connection. While it lasts, three things
//! go on: messages are handed to whom they are for, keys are bound and unbound ([`Binder`]), and
//! probes go out and must come back. A session that loses any of them ends, and the next one makes
//! a new queue and binds everything again.

use super::{
    Published, Shared, TOPOLOGY_KEY, binder::Binder, interruption::interruption, publisher::Message,
};
use crate::{
    amqp::{AmqpError, name},
    bus::{
        TopologyChanged, codec,
        registry::{Audience, InlineListeners, Meter, Registry},
    },
    clock::Clock,
    domain::{
        bus::BusDefinition,
        name::{BusName, RegistrationKey},
    },
    metrics::Metrics,
    outage::Outage,
};
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Channel,
    message::Delivery,
    options::{BasicConsumeOptions, QueueBindOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How often a probe is published.
const PROBE_EVERY: Duration = Duration::from_secs(20);

/// How long a probe that is in our queue may take to come out of it.
const PROBE_BACK: Duration = Duration::from_secs(10);

/// How old the last probe that came back may be before notifications count as broken.
const PROBE_OLD: Duration = Duration::from_mins(1);

/// How long keys may wait for their binding before notifications count as broken.
const BEHIND: Duration = Duration::from_secs(10);

/// Who follows what on this node, bus by bus.
pub(super) struct Notifications {
    /// This process. What it publishes is signed with it.
    pub(super) instance: Uuid,
    buses: Mutex<BTreeMap<BusName, Arc<Following>>>,
    metrics: Arc<Metrics>,
}

/// What this node follows on one bus.
pub(super) struct Following {
    pub(super) registry: Registry,
    /// Its synchronous every-node listeners.
    pub(super) inline: InlineListeners,
    /// Taken by the task that follows the bus.
    touched: tokio::sync::Mutex<mpsc::UnboundedReceiver<RegistrationKey>>,
    status: Mutex<Status>,
    probes: AtomicU64,
    heard: watch::Sender<u64>,
}

/// How notifications do.
struct Status {
    /// Why there is no session.
    away: Option<String>,
    /// When the last probe came back.
    heard: Option<Instant>,
    /// Why the last probe was not published.
    trouble: Option<String>,
    /// How many keys are to be bound or unbound, and since when there have been any.
    behind: Option<(usize, Instant)>,
}

impl Notifications {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { instance: Uuid::new_v4(), buses: Mutex::default(), metrics }
    }

    /// What this node follows on a bus.
    pub(super) fn of(&self, bus: &BusName) -> Arc<Following> {
        let mut buses = self.buses.lock();
        let new = || {
            let meter = Meter { metrics: Arc::clone(&self.metrics), bus: bus.clone() };
            Arc::new(Following::new(meter))
        };
        Arc::clone(buses.entry(bus.clone()).or_insert_with(new))
    }
}

impl Following {
    fn new(meter: Meter) -> Self {
        let (registry, touched) = Registry::binding(meter);
        let away = Some("this node does not listen to it yet".to_owned());
        let status = Status { away, heard: None, trouble: None, behind: None };
        Self {
            registry,
            inline: InlineListeners::new(&Clock::system()),
            touched: touched.into(),
            status: status.into(),
            probes: AtomicU64::new(0),
            heard: watch::Sender::new(0),
        }
    }

    fn status(&self) -> MutexGuard<'_, Status> {
        self.status.lock()
    }

    /// Whether notifications arrive, as far as the last probe can tell. `Err` says why not.
    pub(super) fn check(&self) -> Result<(), String> {
        let status = self.status();
        if let Some(cause) = &status.away {
            return Err(format!("no notifications arrive: {cause}"));
        }
        let heard = status.heard.map(|heard| heard.elapsed());
        if heard.is_none_or(|heard| heard > PROBE_OLD) {
            let cause = status.trouble.as_deref().unwrap_or("it is on its way");
            return Err(match heard {
                None => format!("no probe came back yet: {cause}"),
                Some(age) => format!("no probe came back for {} s: {cause}", age.as_secs()),
            });
        }
        match status.behind {
            Some((count, since)) if since.elapsed() > BEHIND => {
                Err(format!("{count} keys wait for {} s to be bound", since.elapsed().as_secs()))
            }
            _ => Ok(()),
        }
    }

    /// Says how many keys are not bound as they should be.
    pub(super) fn behind(&self, count: usize) {
        let mut status = self.status();
        let since = status.behind.map_or_else(Instant::now, |(_, since)| since);
        status.behind = (count > 0).then_some((count, since));
    }
}

/// The task that follows one bus.
struct Node {
    shared: Arc<Shared>,
    bus: BusDefinition,
    following: Arc<Following>,
    probe_key: String,
}

/// Follows one bus until told to stop.
pub(super) async fn follow(shared: Arc<Shared>, bus: BusDefinition, stop: CancellationToken) {
    let following = shared.notifications.of(&bus.name);
    let probe_key = format!("hearken:probe:{}", shared.notifications.instance);
    let node = Node { shared, bus, following: Arc::clone(&following), probe_key };
    let mut touched = following.touched.lock().await;
    let mut outage = interruption(
        &Clock::system(),
        &format!("listening for notifications of bus {}", node.bus.name),
    );
    let mut wake = node.shared.wake.subscribe();
    loop {
        wake.mark_unchanged();
        let cause = tokio::select! {
            () = stop.cancelled() => None,
            cause = node.session(&mut touched, &mut outage) => Some(cause),
        };
        following.registry.interrupted();
        following.registry.bindings(0);
        let away = cause.clone().unwrap_or_else(|| "this node has stopped listening".to_owned());
        *following.status() = Status { away: Some(away), heard: None, trouble: None, behind: None };
        let Some(cause) = cause else { return };
        let pause = outage.failed(&cause);
        tokio::select! {
            () = stop.cancelled() => return,
            () = sleep(pause) => {}
            _ = wake.changed() => {}
        }
    }
}

impl Node {
    /// Listens over one queue until something of it is lost, and returns what.
    async fn session(
        &self,
        touched: &mut mpsc::UnboundedReceiver<RegistrationKey>,
        outage: &mut Outage,
    ) -> String {
        // The binder begins with every key that is followed then.
        while touched.try_recv().is_ok() {}
        let (messages, binder, _channel) = match self.open().await {
            Ok(opened) => opened,
            Err(error) => return error.to_string(),
        };
        outage.over();
        self.following.status().away = None;
        self.shared.resyncs.send_modify(|count| *count = count.wrapping_add(1));
        tokio::select! {
            cause = self.read(messages) => cause,
            cause = self.probe() => cause,
            cause = binder.run(touched) => cause,
        }
    }

    async fn open(&self) -> Result<(lapin::Consumer, Binder<'_>, Channel), AmqpError> {
        let (amqp, layout) = (&self.shared.consuming, &self.shared.layout);
        let channel = amqp.channel().await?;
        let keys = layout.keys(&self.bus.name);
        let queue = self.shared.node_queue(&channel, &self.bus.name, &keys, TOPOLOGY_KEY).await?;
        let (exchange, probe) = (name(&keys)?, name(&self.probe_key)?);
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        amqp.answer(channel.queue_bind(queue.clone(), exchange, probe, options, none)).await?;
        let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
        let messages = amqp.consume(&channel, queue.clone(), options).await?;
        let exchange = name(&layout.notifications(&self.bus))?;
        // A channel of its own: what arrives does not wait behind what is bound.
        let binding = amqp.channel().await?;
        let common = !self.bus.attached;
        let binder = Binder::new(amqp, binding, queue, exchange, &self.following, common);
        Ok((messages, binder, channel))
    }

    async fn read(&self, mut messages: lapin::Consumer) -> String {
        while let Some(message) = messages.next().await {
            match message {
                Ok(message) => self.take(&message),
                Err(error) => {
                    return AmqpError::of(error, self.shared.consuming.address()).to_string();
                }
            }
            // The client's stream would never let the others of this task have their turn.
            tokio::task::coop::consume_budget().await;
        }
        "its queue or channel was closed".to_owned()
    }

    /// Hands a message to whom it is for. One that cannot be read harms nobody else's.
    fn take(&self, message: &Delivery) {
        match message.routing_key.as_str() {
            TOPOLOGY_KEY => self.take_change(message),
            key if key == self.probe_key => self.take_probe(message),
            _ => self.take_notification(message),
        }
    }

    fn take_change(&self, message: &Delivery) {
        match serde_json::from_slice::<TopologyChanged>(&message.data) {
            // Fails when nobody listens on this node, and then nobody misses it.
            Ok(change) => drop(self.shared.changes.send(change)),
            Err(error) => {
                let bus = &self.bus.name;
                tracing::debug!(%error, "bus {bus} carried a topology change that cannot be read");
            }
        }
    }

    fn take_probe(&self, message: &Delivery) {
        let number = std::str::from_utf8(&message.data).ok().and_then(|text| text.parse().ok());
        if let Some(number) = number {
            self.following.status().heard = Some(Instant::now());
            self.following.heard.send_replace(number);
        }
    }

    fn take_notification(&self, message: &Delivery) {
        let registry = &self.following.registry;
        let keys: BTreeSet<_> = (keys_of(message).into_iter())
            .filter_map(|key| RegistrationKey::parse(key).ok())
            .filter(|key| registry.is_followed(key))
            .collect();
        if keys.is_empty() {
            return;
        }
        let content_type = message.properties.content_type().as_ref().map(ShortString::as_str);
        let events = match codec::decode_all(content_type, &message.data) {
            Ok(events) => events,
            Err(error) => {
                let (bus, key) = (self.bus.name.as_str(), message.routing_key.as_str());
                let cause = error.to_string();
                tracing::warn!(
                    bus,
                    key,
                    cause,
                    "bus {bus} carried something under key {key} that is no event, and it is passed over: {cause}"
                );
                return;
            }
        };
        // The synchronous listeners ran before this node's own dispatch returned.
        let ours = self.shared.ran_inline(&message.properties);
        let audience = if ours { Audience::AsyncOnly } else { Audience::All };
        for event in events {
            registry.enqueue(&Arc::new(event), &keys, audience);
        }
    }

    /// Sends probes until one shows that nothing arrives any more. An exchange that was deleted and
    /// made again took its bindings with it, and nobody tells their queue.
    async fn probe(&self) -> String {
        let exchange = self.shared.layout.keys(&self.bus.name);
        let mut wake = self.shared.wake.subscribe();
        let mut heard = self.following.heard.subscribe();
        loop {
            wake.mark_unchanged();
            let number = self.following.probes.fetch_add(1, Ordering::Relaxed) + 1;
            let Ok(key) = name(&self.probe_key) else { return "its probe has no name".to_owned() };
            let body = number.to_string().into_bytes();
            let probe = Message::new(key, body, BasicProperties::default());
            let trouble = match self.shared.publisher.publish(&exchange, probe).await {
                Ok(Published::Routed) => {
                    let back = heard.wait_for(|heard| *heard == number);
                    if timeout(PROBE_BACK, back).await.is_err() {
                        return format!(
                            "a probe did not come back within {} s",
                            PROBE_BACK.as_secs()
                        );
                    }
                    None
                }
                Ok(Published::Returned) => {
                    return format!("exchange {exchange} has lost the bindings of its queue");
                }
                Err(error @ AmqpError::Missing(_)) => return error.to_string(),
                Err(error) => Some(format!("the probe cannot be published: {error}")),
            };
            self.following.status().trouble = trouble;
            tokio::select! {
                () = sleep(PROBE_EVERY) => {}
                // The sender lives in `shared`, which we hold.
                _ = wake.changed() => {}
            }
        }
    }
}

/// The keys of a message: the one it was routed by, and those of its `CC` header, by which
/// RabbitMQ routes too.
fn keys_of(message: &Delivery) -> Vec<String> {
    let mut keys = vec![message.routing_key.as_str().to_owned()];
    let headers = message.properties.headers().as_ref();
    if let Some(AMQPValue::FieldArray(more)) = headers.and_then(|h| h.inner().get("CC")) {
        keys.extend(more.as_slice().iter().filter_map(|key| match key {
            AMQPValue::LongString(key) => Some(key.to_string()),
            AMQPValue::ShortString(key) => Some(key.as_str().to_owned()),
            _ => None,
        }));
    }
    keys
}
