//! The embedded bus and broker over a real store.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

use crate::support::wait;
use async_trait::async_trait;
use futures_util::future::BoxFuture;
use hearken::{
    broker::{Broker, BrokerError, Depth, Marker, local::LocalBroker},
    bus::{
        Consumer, ConsumerState, Consumption, DispatchError, EventBus, Execution, Failure, Handler,
        TopologyChanged,
        codec::decode,
        event::{Data, Event},
        local::{LocalBus, Occupancy},
    },
    domain::{
        layout::{Flavor, Layout},
        listener::{Delivery, Listener},
        name::{BusName, GroupName},
        plan::Action,
        topology::{Binding, ExchangeKind, Topology},
    },
    store::Store,
};
use serde_json::json;
use std::{
    path::Path,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

/// A node's half of the bus and the broker, over a store of its own.
struct Node {
    store: Store,
    layout: Layout,
    broker: LocalBroker,
    bus: LocalBus,
}

impl Node {
    async fn open(folder: &Path) -> Self {
        let store = Store::sqlite(folder).await.unwrap();
        let cluster = store.cluster_id();
        let prefix = "hearken".to_owned();
        let layout = Layout { prefix, cluster, flavor: Flavor::Local, ..Layout::default() };
        let occupancy = Occupancy::default();
        let broker = LocalBroker::new(store.clone(), layout.clone(), occupancy.clone());
        let bus = LocalBus::new(store.clone(), layout.clone(), occupancy);
        Self { store, layout, broker, bus }
    }

    async fn close(self) {
        self.bus.close().await;
        self.store.close().await;
    }

    async fn apply(&self, action: Action) -> u64 {
        self.broker.apply(&action).await.unwrap()
    }

    async fn declare_bus(&self) {
        let main = self.layout.exchange(self.layout.main(&bus()), ExchangeKind::Direct);
        self.apply(Action::DeclareExchange(main)).await;
    }

    fn queue(&self, listener: &Listener) -> String {
        self.layout.work(&listener.bus, &listener.group, 1)
    }

    async fn declare(&self, listener: &Listener) {
        self.declare_bus().await;
        let queue = self.layout.work_queue(&listener.bus, &listener.group, 1);
        let binding = Binding::of_queue(&self.layout.main(&bus()), &queue.name, "");
        self.apply(Action::DeclareQueue(queue)).await;
        self.apply(Action::Bind(binding)).await;
    }

    fn consume(&self, listener: &Listener, calls: &Arc<Calls>) -> Consumer {
        let queue = self.queue(listener);
        let consumption = Consumption { listener: listener.clone(), queue, draining: false };
        self.bus.consume(consumption, calls.clone())
    }

    async fn dispatch(&self, id: &str) {
        self.bus.dispatch(&bus(), &event(id), true).await.unwrap();
    }

    async fn depth(&self, listener: &Listener) -> Depth {
        self.broker.depth(&self.queue(listener)).await.unwrap().unwrap()
    }

    async fn is_left_with(&self, listener: &Listener, ready: u64, unacked: u64) {
        wait::until("the queue holds what is expected", || async {
            let depth = self.depth(listener).await;
            (depth.ready == ready && depth.unacked == unacked).then_some(())
        })
        .await;
    }
}

type Behaviour = dyn Fn(Event, Execution) -> BoxFuture<'static, Result<(), Failure>> + Send + Sync;

/// A handler that remembers its calls as (id, attempt).
struct Calls {
    seen: Mutex<Vec<(String, u32)>>,
    behaviour: Box<Behaviour>,
}

impl Calls {
    fn doing<F>(behaviour: impl Fn(Event, Execution) -> F + Send + Sync + 'static) -> Arc<Self>
    where
        F: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let behaviour = Box::new(move |event, execution| -> BoxFuture<'static, _> {
            Box::pin(behaviour(event, execution))
        });
        Arc::new(Self { seen: Mutex::default(), behaviour })
    }

    fn succeeding() -> Arc<Self> {
        Self::doing(|_, _| async { Ok(()) })
    }

    fn seen(&self) -> Vec<(String, u32)> {
        self.seen.lock().unwrap().clone()
    }

    async fn are(&self, expected: &[(&str, u32)]) {
        let mut expected: Vec<_> = expected.iter().map(|(id, n)| ((*id).to_owned(), *n)).collect();
        expected.sort();
        wait::until(&format!("the calls are {expected:?}"), || async {
            let mut seen = self.seen();
            seen.sort();
            (seen == expected).then_some(())
        })
        .await;
    }
}

#[async_trait]
impl Handler for Calls {
    async fn handle(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        self.seen.lock().unwrap().push((event.id.clone(), execution.attempt));
        (self.behaviour)(event.clone(), execution.clone()).await
    }
}

fn bus() -> BusName {
    BusName::parse("mailboxEvent").unwrap()
}

fn listener(group: &str) -> Listener {
    let json = json!({"group": group, "class": "test", "bus": "mailboxEvent",
                      "retry": {"attempts": 8, "first": "100ms", "max": "200ms"}});
    serde_json::from_value(json).unwrap()
}

fn body(id: &str) -> String {
    format!(r#"{{"Added": {{"eventId":"{id}","user":"bob","n":1.0}}}}"#)
}

fn event(id: &str) -> Event {
    decode(None, body(id).as_bytes()).unwrap()
}

async fn reaches(consumer: &mut Consumer, what: &str, wanted: impl Fn(&ConsumerState) -> bool) {
    let reached = consumer.state.wait_for(|state| wanted(state));
    tokio::time::timeout(Duration::from_secs(30), reached).await.expect(what).expect(what);
}

const LONG: Duration = Duration::from_secs(30);

#[tokio::test]
async fn an_event_reaches_each_group_once_as_it_was_and_leaves_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let (a, b) = (listener("a"), listener("b"));
    let data = Arc::new(Mutex::new(String::new()));
    let keep = data.clone();
    let first = Calls::doing(move |event, execution| {
        assert_eq!((execution.group.as_str(), execution.bus), ("a", bus()));
        if let Data::Json(json) = event.data {
            json.get().clone_into(&mut keep.lock().unwrap());
        }
        async { Ok(()) }
    });
    let second = Calls::succeeding();
    node.declare(&a).await;
    node.declare(&b).await;
    let consumers = [node.consume(&a, &first), node.consume(&b, &second)];
    node.dispatch("1").await;
    first.are(&[("1", 0)]).await;
    second.are(&[("1", 0)]).await;
    assert_eq!(*data.lock().unwrap(), body("1"));
    for listener in [&a, &b] {
        node.is_left_with(listener, 0, 0).await;
    }
    for consumer in consumers {
        consumer.stop.stop(LONG).await;
    }
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    node.close().await;
}

#[tokio::test]
async fn no_more_run_at_once_than_the_listener_says_and_all_run() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = Listener { concurrency: 3, ..listener("a") };
    node.declare(&listener).await;
    for n in 0..20 {
        node.dispatch(&n.to_string()).await;
    }
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (at_once, highest, go) = (running.clone(), most.clone(), gate.clone());
    let calls = Calls::doing(move |_, _| {
        let (at_once, highest, go) = (at_once.clone(), highest.clone(), go.clone());
        async move {
            highest.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            go.acquire().await.unwrap().forget();
            at_once.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let consumer = node.consume(&listener, &calls);
    wait::until("three run", || async { (running.load(Ordering::SeqCst) == 3).then_some(()) })
        .await;
    let expected = Depth { ready: 17, unacked: 3, consumers: 1 };
    assert_eq!(node.depth(&listener).await, expected);
    gate.add_permits(20);
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
    assert_eq!((calls.seen().len(), most.load(Ordering::SeqCst)), (20, 3));
    assert_eq!(node.depth(&listener).await, Depth::default());
}

#[tokio::test]
async fn a_failing_event_is_tried_again_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = Listener { concurrency: 1, ..listener("a") };
    node.declare(&listener).await;
    let calls = Calls::doing(|event, execution| async move {
        match (event.id.as_str(), execution.attempt) {
            ("bad", 0..=2) => Err(Failure::new("not yet")),
            ("panic", 0) => panic!("at the disco"),
            _ => Ok(()),
        }
    });
    for id in ["bad", "panic", "good"] {
        node.dispatch(id).await;
    }
    let consumer = node.consume(&listener, &calls);
    let all =
        [("bad", 0), ("panic", 0), ("good", 0), ("bad", 1), ("panic", 1), ("bad", 2), ("bad", 3)];
    calls.are(&all).await;
    let order = calls.seen();
    let position = |call: (&str, u32)| order.iter().position(|(id, n)| (id.as_str(), *n) == call);
    assert!(position(("good", 0)) < position(("bad", 1)));
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_retry_is_on_time_while_another_event_is_in_hand() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let calls = Calls::doing(move |event, execution| {
        let hold = hold.clone();
        async move {
            match (event.id.as_str(), execution.attempt) {
                ("slow", _) => hold.notified().await,
                ("bad", 0..=1) => return Err(Failure::new("not yet")),
                _ => {}
            }
            Ok(())
        }
    });
    node.dispatch("slow").await;
    node.dispatch("bad").await;
    let started = std::time::Instant::now();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("slow", 0), ("bad", 0), ("bad", 1), ("bad", 2)]).await;
    // 100 ms and 200 ms; the poll alone would take ten seconds.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    release.notify_one();
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_listener_that_takes_too_long_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = Listener { timeout: "100ms".parse().unwrap(), ..listener("a") };
    node.declare(&listener).await;
    let calls = Calls::doing(|_, execution| async move {
        if execution.attempt == 0 {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0), ("1", 1)]).await;
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_failure_that_asks_for_a_longer_pause_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let calls = Calls::doing(|_, _| async {
        let retry_after = Some(Duration::from_hours(1));
        Err(Failure { cause: "busy".to_owned(), retry_after })
    });
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0)]).await;
    node.is_left_with(&listener, 1, 0).await;
    let pause = node.store.local_next_due(&node.queue(&listener)).await.unwrap().unwrap();
    assert!(pause > Duration::from_mins(59), "{pause:?}");
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn what_was_accepted_is_delivered_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    node.dispatch("1").await;
    node.dispatch("2").await;
    node.close().await;
    let node = Node::open(folder.path()).await;
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0), ("2", 0)]).await;
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[test]
fn a_process_that_dies_with_an_event_in_hand_runs_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = listener("a");
    let first = tokio::runtime::Runtime::new().unwrap();
    let stuck = Calls::doing(|_, _| std::future::pending());
    let (dying, _consumer) = first.block_on(async {
        let node = Node::open(folder.path()).await;
        node.declare(&listener).await;
        node.dispatch("1").await;
        let consumer = node.consume(&listener, &stuck);
        stuck.are(&[("1", 0)]).await;
        (node, consumer)
    });
    // As a kill does it: no task ends by itself.
    first.shutdown_background();
    drop(dying);
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        let node = wait::until("the directory is free", || async {
            let free = Store::sqlite(folder.path()).await.ok()?;
            free.close().await;
            Some(Node::open(folder.path()).await)
        })
        .await;
        let calls = Calls::succeeding();
        let consumer = node.consume(&listener, &calls);
        calls.are(&[("1", 0)]).await;
        node.is_left_with(&listener, 0, 0).await;
        consumer.stop.stop(LONG).await;
    });
}

#[tokio::test]
async fn a_consumer_without_its_queue_waits_and_goes_on_when_it_is_woken() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare_bus().await;
    let calls = Calls::succeeding();
    let mut consumer = node.consume(&listener, &calls);
    let queue = node.queue(&listener);
    reaches(
        &mut consumer,
        "it waits",
        |state| matches!(state, ConsumerState::Waiting(why) if why.contains(&queue)),
    )
    .await;
    node.declare(&listener).await;
    node.bus.wake();
    reaches(&mut consumer, "it runs", |state| *state == ConsumerState::Running).await;
    node.dispatch("1").await;
    calls.are(&[("1", 0)]).await;
    node.apply(Action::DeleteQueue(queue)).await;
    node.bus.wake();
    reaches(&mut consumer, "it waits", |state| *state != ConsumerState::Running).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn stopping_lets_what_is_in_hand_finish_and_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = Listener { concurrency: 1, ..listener("a") };
    node.declare(&listener).await;
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, hold) = (started.clone(), release.clone());
    let calls = Calls::doing(move |_, _| {
        let (begin, hold) = (begin.clone(), hold.clone());
        async move {
            begin.notify_one();
            hold.notified().await;
            Ok(())
        }
    });
    node.dispatch("1").await;
    node.dispatch("2").await;
    let consumer = node.consume(&listener, &calls);
    started.notified().await;
    let stopping = tokio::spawn(consumer.stop.stop(LONG));
    tokio::task::yield_now().await;
    assert!(!stopping.is_finished());
    release.notify_one();
    stopping.await.unwrap();
    assert_eq!(calls.seen(), [("1".to_owned(), 0)]);
    assert_eq!(node.depth(&listener).await, Depth { ready: 1, unacked: 0, consumers: 0 });
}

#[tokio::test]
async fn stopping_does_not_wait_longer_than_its_patience_and_the_event_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let stuck = Calls::doing(|_, _| std::future::pending());
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &stuck);
    stuck.are(&[("1", 0)]).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    assert_eq!(node.depth(&listener).await, Depth { ready: 1, unacked: 0, consumers: 0 });
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0)]).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn what_one_consumer_has_in_hand_another_of_the_same_queue_does_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let leaving = Calls::doing(move |_, _| {
        let hold = hold.clone();
        async move {
            hold.notified().await;
            Ok(())
        }
    });
    node.dispatch("1").await;
    let old = node.consume(&listener, &leaving);
    leaving.are(&[("1", 0)]).await;
    let stopping = tokio::spawn(old.stop.stop(LONG));
    let calls = Calls::succeeding();
    let new = node.consume(&listener, &calls);
    node.dispatch("2").await;
    calls.are(&[("2", 0)]).await;
    release.notify_one();
    stopping.await.unwrap();
    node.is_left_with(&listener, 0, 0).await;
    new.stop.stop(LONG).await;
    calls.are(&[("2", 0)]).await;
}

#[tokio::test]
async fn a_noop_event_is_delivered_to_nobody() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let (a, everywhere) =
        (listener("a"), Listener { delivery: Delivery::EveryNode, ..listener("b") });
    node.declare(&a).await;
    let calls = Calls::succeeding();
    let consumers = [node.consume(&a, &calls), node.consume(&everywhere, &calls)];
    let noop = decode(None, br#"{"Added":{"eventId":"noop","added":{}}}"#).unwrap();
    node.bus.dispatch(&bus(), &noop, true).await.unwrap();
    node.dispatch("1").await;
    calls.are(&[("1", 0), ("1", 0)]).await;
    for consumer in consumers {
        consumer.stop.stop(LONG).await;
    }
    calls.are(&[("1", 0), ("1", 0)]).await;
}

#[tokio::test]
async fn an_every_node_listener_gets_each_event_at_most_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    node.declare_bus().await;
    let listener = Listener { delivery: Delivery::EveryNode, ..listener("a") };
    let calls = Calls::doing(|event, _| async move {
        if event.id == "bad" { Err(Failure::new("no")) } else { Ok(()) }
    });
    let mut consumer = node.consume(&listener, &calls);
    reaches(&mut consumer, "it runs", |state| *state == ConsumerState::Running).await;
    for id in ["bad", "1", "2"] {
        node.dispatch(id).await;
    }
    calls.are(&[("bad", 0), ("1", 0), ("2", 0)]).await;
    consumer.stop.stop(LONG).await;
    calls.are(&[("bad", 0), ("1", 0), ("2", 0)]).await;
}

#[tokio::test]
async fn an_event_that_nobody_can_get_is_refused_when_the_bus_has_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let refused = node.bus.dispatch(&bus(), &event("1"), false).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Unavailable { .. }), "{refused}");
    node.declare_bus().await;
    node.bus.dispatch(&bus(), &event("1"), false).await.unwrap();
    let refused = node.bus.dispatch(&bus(), &event("1"), true).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Unroutable(_)), "{refused}");
}

#[tokio::test]
async fn a_draining_queue_is_consumed_until_it_is_empty_and_then_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let calls = Calls::doing(move |_, execution| {
        let hold = hold.clone();
        async move {
            hold.notified().await;
            if execution.attempt == 0 { Err(Failure::new("once more")) } else { Ok(()) }
        }
    });
    node.dispatch("1").await;
    let queue = node.queue(&listener);
    let consumption =
        Consumption { listener: listener.clone(), queue: queue.clone(), draining: true };
    let consumer = node.bus.consume(consumption, calls.clone());
    calls.are(&[("1", 0)]).await;
    assert_eq!(node.depth(&listener).await, Depth { ready: 0, unacked: 1, consumers: 1 });
    release.notify_one();
    calls.are(&[("1", 0), ("1", 1)]).await;
    assert_eq!(node.depth(&listener).await.consumers, 1);
    release.notify_one();
    wait::until("nobody consumes it", || async {
        (node.depth(&listener).await == Depth::default()).then_some(())
    })
    .await;
    assert_eq!(node.apply(Action::DeleteQueue(queue)).await, 0);
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stays_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = Listener { concurrency: 1, ..listener("a") };
    node.declare(&listener).await;
    let main = node.layout.main(&bus());
    let strange = Some("application/from-the-future");
    node.store.local_publish(&main, "", strange, &json!({}), b"?").await.unwrap();
    node.dispatch("1").await;
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0)]).await;
    node.is_left_with(&listener, 1, 0).await;
    let pause = node.store.local_next_due(&node.queue(&listener)).await.unwrap().unwrap();
    assert!(pause > Duration::from_mins(59), "{pause:?}");
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_change_of_the_topology_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let mut changes = node.bus.changes();
    let added = vec![GroupName::parse("a").unwrap()];
    let change = TopologyChanged { bus: bus(), version: 3, added, removed: vec![] };
    node.bus.announce(&change).await;
    assert_eq!(changes.recv().await.unwrap(), change);
    assert_eq!(node.bus.health().await, Ok(()));
}

#[tokio::test]
async fn the_broker_holds_what_it_was_told_and_says_what_it_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    assert_eq!(node.broker.marker().await.unwrap(), Marker::Absent);
    assert_eq!(node.broker.observe().await.unwrap(), Topology::default());
    let marker = node.layout.exchange(node.layout.marker(), ExchangeKind::Direct);
    node.apply(Action::DeclareExchange(marker.clone())).await;
    let cluster = node.store.cluster_id();
    assert_eq!(node.broker.marker().await.unwrap(), Marker::Cluster(Some(cluster)));
    let listener = listener("a");
    node.declare(&listener).await;
    node.declare(&listener).await;
    let queue = node.queue(&listener);
    let observed = node.broker.observe().await.unwrap();
    assert_eq!(observed.len(), 4);
    assert_eq!(observed.queues[&queue], node.layout.work_queue(&bus(), &listener.group, 1));
    let other = node.layout.exchange(node.layout.marker(), ExchangeKind::Fanout);
    let refused = node.broker.apply(&Action::DeclareExchange(other)).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Refused { .. }), "{refused}");
    node.dispatch("1").await;
    assert_eq!(node.apply(Action::DeleteQueue(queue.clone())).await, 1);
    assert_eq!(node.apply(Action::DeleteQueue(queue.clone())).await, 0);
    assert_eq!(node.broker.depth(&queue).await.unwrap(), None);
    assert!(node.broker.version().await.unwrap().starts_with("embedded "));
}
