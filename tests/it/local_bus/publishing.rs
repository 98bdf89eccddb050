//! What becomes of an event when it is published.

use super::scene::{Calls, LONG, Node, body, bus, event, listener, reaches};
use crate::support::bus::Dispatching as _;
use hearken::{
    broker::{Broker, BrokerError, Marker},
    bus::{
        ConsumerState, DispatchError, EventBus, Failure, TopologyChanged, codec::decode,
        event::Data,
    },
    domain::{
        listener::{Delivery, ListenerSpec},
        name::GroupName,
        plan::Action,
        topology::{ExchangeKind, Topology},
    },
};
use std::sync::{Arc, Mutex};

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
async fn a_noop_event_is_delivered_to_no_listener() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let (a, everywhere) =
        (listener("a"), ListenerSpec { delivery: Delivery::EveryNode, ..listener("b") });
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
    let listener = ListenerSpec { delivery: Delivery::EveryNode, ..listener("a") };
    let calls = Calls::doing(|event, _| async move {
        if event.id == "bad" { Err(Failure::new("no")) } else { Ok(()) }
    });
    let mut consumer = node.consume(&listener, &calls);
    reaches(&mut consumer, "it runs", |state| *state == ConsumerState::Running).await;
    for id in ["bad", "1", "2"] {
        node.bus.dispatch(&bus(), &event(id), false).await.unwrap();
    }
    calls.are(&[("bad", 0), ("1", 0), ("2", 0)]).await;
    consumer.stop.stop(LONG).await;
    calls.are(&[("bad", 0), ("1", 0), ("2", 0)]).await;
}

#[tokio::test]
async fn an_event_that_no_listener_can_get_is_refused_when_the_bus_has_listeners() {
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
