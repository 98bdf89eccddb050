//! hearken's side: listeners, events, and a virtual host that has what they need.

use crate::{CONCURRENCY, address};
use async_trait::async_trait;
use hearken::{
    amqp::AmqpUrl,
    broker::{
        Broker,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    bus::{
        Consumer, ConsumerState, Consumption, EventBus, Execution, Failure, Listener, Outgoing,
        event::{Data, Event},
        rabbitmq::{COLLECT_EVERY, DiscardNothing, RabbitMqBus, RabbitMqBusConfig},
    },
    clock::Clock,
    domain::{
        bus::{BusDefinition, Buses},
        desired::{Desired, desired},
        event::{Audit, NodeRef, RecordedEvent, RosterEvent},
        layout::Layout,
        listener::ListenerSpec,
        name::BusName,
        plan,
        roster::Roster,
    },
    store::Store,
};
use serde_json::json;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use time::OffsetDateTime;
use tokio::sync::watch;
use uuid::Uuid;

pub(crate) fn bus() -> BusDefinition {
    BusDefinition::plain(BusName::parse("mailboxEvent").expect("a name"))
}

/// So many listeners.
pub(crate) fn listeners(count: usize) -> Vec<ListenerSpec> {
    (0..count)
        .map(|number| {
            serde_json::from_value(json!({
                "group": format!("g{number}"), "class": "log", "bus": "mailboxEvent",
                "concurrency": CONCURRENCY, "retry": {"attempts": 3, "max": "200ms"},
            }))
            .expect("a listener")
        })
        .collect()
}

pub(crate) fn event(number: usize, bytes: usize) -> Event {
    let data = json!({ "n": number, "filler": "x".repeat(bytes) }).to_string();
    Event {
        id: number.to_string(),
        kind: "Benched".into(),
        source: "urn:bench".into(),
        user: None,
        time: None,
        noop: false,
        data: Data::Json(serde_json::value::RawValue::from_string(data).expect("JSON")),
        attributes: BTreeMap::new(),
    }
}

pub(crate) fn outgoing(number: usize, bytes: usize) -> Outgoing {
    Outgoing { event: event(number, bytes), keys: BTreeSet::new(), must_route: true, kept_by: None }
}

/// What the broker should hold for these listeners.
pub(crate) fn desire(layout: &Layout, listeners: &[ListenerSpec]) -> Desired {
    let node = NodeRef { id: "bench".into(), host: "bench".into() };
    let mut roster = Roster::default();
    for (version, listener) in (1..).zip(listeners) {
        let audit = Audit {
            actor: "bench".into(),
            node: node.clone(),
            reason: None,
            command_id: Uuid::nil(),
            request_id: None,
        };
        let event = RosterEvent::ListenerAdded { listener: listener.clone(), generation: 1 };
        let event_id = Uuid::from_u128(version.into());
        let recorded_at = OffsetDateTime::UNIX_EPOCH;
        roster.evolve(&RecordedEvent { version, event_id, event, audit, recorded_at });
    }
    let buses = Buses::from([(bus().name, bus())]);
    desired(layout, &buses, &roster, &BTreeSet::new())
}

/// Makes a broker hold what these listeners need.
pub(crate) async fn converge(broker: &dyn Broker, layout: &Layout, listeners: &[ListenerSpec]) {
    for step in plan::between(&Desired::default(), &desire(layout, listeners)).steps {
        broker.apply(&step.action).await.expect("applied");
    }
}

/// A virtual host with the queues of some listeners.
pub(crate) struct Host {
    pub(crate) amqp: String,
    pub(crate) store: Store,
    pub(crate) listeners: Vec<ListenerSpec>,
    pub(crate) layout: Layout,
    name: String,
    _directory: tempfile::TempDir,
}

impl Host {
    pub(crate) async fn with(listeners: Vec<ListenerSpec>) -> Self {
        let (broker, management) =
            (address("TEST_HEARKEN_AMQP"), address("TEST_HEARKEN_MANAGEMENT"));
        let name = format!("bench_{}", Uuid::new_v4().simple());
        put(&format!("vhosts/{name}"), json!({})).await;
        let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
        put(&format!("permissions/{name}/guest"), all).await;
        let amqp = format!("{}/{name}", broker.rsplit_once('/').expect("a URL").0);
        let layout = Layout { prefix: "hearken".into(), ..Layout::default() };
        let config = RabbitMqConfig {
            amqp_url: AmqpUrl::parse(&amqp).expect("a URL"),
            management_url: Some(management),
            layout: layout.clone(),
            node: "bench".into(),
        };
        converge(&RabbitMqBroker::new(config).expect("a broker"), &layout, &listeners).await;
        let directory = tempfile::tempdir().expect("a directory");
        let store = Store::sqlite(directory.path()).await.expect("a store");
        Self { amqp, store, listeners, layout, name, _directory: directory }
    }

    pub(crate) fn bus(&self) -> RabbitMqBus {
        RabbitMqBus::new(RabbitMqBusConfig {
            amqp_url: AmqpUrl::parse(&self.amqp).expect("a URL"),
            layout: self.layout.clone(),
            node: "bench".into(),
            store: self.store.clone(),
            collect_every: COLLECT_EVERY,
            discards: Arc::new(DiscardNothing),
            clock: Clock::system(),
            metrics: Arc::default(),
        })
    }

    pub(crate) fn queue(&self, listener: &ListenerSpec) -> String {
        self.layout.work(&listener.bus, &listener.group, 1)
    }

    /// Starts the consumers of every listener and waits until they run.
    pub(crate) async fn consume(
        &self,
        bus: &dyn EventBus,
        handler: &Arc<Counting>,
    ) -> Vec<Consumer> {
        consume(bus, &self.layout, &self.listeners, handler).await
    }

    pub(crate) async fn remove(self) {
        let url = format!("{}/api/vhosts/{}", address("TEST_HEARKEN_MANAGEMENT"), self.name);
        client().delete(url).send().await.expect("an answer");
    }
}

/// Starts consumers and waits until they run.
pub(crate) async fn consume(
    bus: &dyn EventBus,
    layout: &Layout,
    listeners: &[ListenerSpec],
    handler: &Arc<Counting>,
) -> Vec<Consumer> {
    let start = |listener: &ListenerSpec| {
        let queue = layout.work(&listener.bus, &listener.group, 1);
        let listener = listener.clone();
        let consumption = Consumption { listener, bus: self::bus(), queue, draining: false };
        bus.consume(consumption, Arc::clone(handler) as Arc<dyn Listener>)
    };
    let consumers: Vec<_> = listeners.iter().map(start).collect();
    for consumer in &consumers {
        let mut state = consumer.state.clone();
        state.wait_for(|state| *state == ConsumerState::Running).await.expect("it runs");
    }
    consumers
}

pub(crate) async fn stop(consumers: Vec<Consumer>) {
    let stopping = consumers.into_iter().map(|one| one.stop.stop(Duration::from_secs(10)));
    futures_util::future::join_all(stopping).await;
}

/// Counts what it handled, and fails with what it is told to.
pub(crate) struct Counting {
    handled: watch::Sender<usize>,
    fails: fn(&Event) -> bool,
}

impl Counting {
    pub(crate) fn new(fails: fn(&Event) -> bool) -> Arc<Self> {
        Arc::new(Self { handled: watch::Sender::new(0), fails })
    }

    /// Waits until so many were handled.
    pub(crate) async fn reach(&self, count: usize) {
        let mut handled = self.handled.subscribe();
        let reached = handled.wait_for(|handled| *handled >= count);
        let reached = tokio::time::timeout(Duration::from_mins(3), reached).await;
        drop(reached.expect("they are handled in time").expect("the sender lives"));
    }
}

#[async_trait]
impl Listener for Counting {
    async fn on_event(&self, event: &Event, _: &Execution) -> Result<(), Failure> {
        if (self.fails)(event) {
            return Err(Failure::new("as it was told"));
        }
        self.handled.send_modify(|handled| *handled += 1);
        Ok(())
    }
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().expect("a client")
}

async fn put(path: &str, body: serde_json::Value) {
    let url = format!("{}/api/{path}", address("TEST_HEARKEN_MANAGEMENT"));
    let answer = client().put(url).json(&body).send().await.expect("an answer");
    assert!(answer.status().is_success(), "{path}: {}", answer.status());
}
