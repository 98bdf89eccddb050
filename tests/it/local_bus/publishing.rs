//! What becomes of an event when it is published.

use crate::support::{
    bus::Dispatching as _,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        specs::{bus, event, persistent},
    },
};
use hearken::{
    broker::{BrokerError, Marker},
    bus::{DispatchError, EventBus, Failure, TopologyChanged, codec::decode, event::Data},
    domain::{
        layout::LAYOUT_VERSION,
        listener::{Delivery, ListenerSpec},
        name::GroupName,
        plan::Action,
        topology::{Binding, ExchangeKind, Topology},
    },
};

#[tokio::test]
async fn an_event_reaches_each_group_once_as_it_was_and_leaves_the_store() {
    let stage = Stage::embedded().await;
    let (a, b) = (persistent("a"), persistent("b"));
    let (first, second) = (Calls::well(), Calls::well());
    stage.add([&a, &b]).await;
    let consumers = [stage.consume_here(&a, &first).await, stage.consume_here(&b, &second).await];
    stage.dispatch_here("1").await;
    first.reach(&[("1", 0)]).await;
    second.reach(&[("1", 0)]).await;
    let call = first.seen().remove(0);
    assert_eq!((call.execution().group.as_str(), &call.execution().bus), ("a", &bus()));
    assert!(matches!(call.event.data, Data::Json(json) if json.get() == r#"{"n":1.0}"#));
    for listener in [&a, &b] {
        stage.settled_with(listener, 0).await;
    }
    for consumer in consumers {
        consumer.stop.stop(PATIENCE).await;
    }
    assert_eq!((first.seen().len(), second.seen().len()), (1, 1));
    stage.close().await;
}

#[tokio::test]
async fn a_noop_event_is_delivered_to_no_listener() {
    let stage = Stage::embedded().await;
    let (a, everywhere) =
        (persistent("a"), ListenerSpec { delivery: Delivery::EveryNode, ..persistent("b") });
    stage.add([&a]).await;
    let calls = Calls::well();
    let consumers =
        [stage.consume_here(&a, &calls).await, stage.consume_here(&everywhere, &calls).await];
    let noop = decode(None, br#"{"Added":{"eventId":"noop","added":{}}}"#).unwrap();
    stage.local().dispatch(&bus(), &noop, true).await.unwrap();
    stage.dispatch_here("1").await;
    calls.reach(&[("1", 0), ("1", 0)]).await;
    for consumer in consumers {
        consumer.stop.stop(PATIENCE).await;
    }
    calls.reach(&[("1", 0), ("1", 0)]).await;
}

#[tokio::test]
async fn an_every_node_listener_gets_each_event_at_most_once() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { delivery: Delivery::EveryNode, ..persistent("a") };
    let calls = Calls::answering(|event, _| match event.id.as_str() {
        "bad" => Err(Failure::new("no")),
        _ => Ok(()),
    });
    let consumer = stage.consume_here(&listener, &calls).await;
    for id in ["bad", "1", "2"] {
        stage.local().dispatch(&bus(), &event(id), false).await.unwrap();
    }
    calls.reach(&[("bad", 0), ("1", 0), ("2", 0)]).await;
    consumer.stop.stop(PATIENCE).await;
    calls.reach(&[("bad", 0), ("1", 0), ("2", 0)]).await;
}

#[tokio::test]
async fn an_event_that_no_listener_can_get_is_refused_when_the_bus_has_listeners() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::embedded_in(folder.path()).await;
    let refused = stage.local().dispatch(&bus(), &event("1"), false).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Unavailable { .. }), "{refused}");
    stage.converge().await;
    stage.local().dispatch(&bus(), &event("1"), false).await.unwrap();
    let refused = stage.local().dispatch(&bus(), &event("1"), true).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Unroutable(_)), "{refused}");
}

#[tokio::test]
async fn a_change_of_the_topology_is_heard() {
    let stage = Stage::embedded().await;
    let mut changes = stage.local().changes();
    let added = vec![GroupName::parse("a").unwrap()];
    let change = TopologyChanged { bus: bus(), version: 3, added, removed: vec![] };
    stage.local().announce(&change).await;
    assert_eq!(changes.recv().await.unwrap(), change);
    stage.local().health().await.unwrap();
}

#[tokio::test]
async fn the_broker_holds_what_it_was_told_and_says_what_it_destroyed() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::embedded_in(folder.path()).await;
    assert_eq!(stage.broker.marker().await.unwrap(), Marker::Absent);
    assert_eq!(stage.broker.observe().await.unwrap(), Topology::default());
    let marker = stage.layout.exchange(stage.layout.marker(), ExchangeKind::Direct);
    stage.apply(Action::DeclareExchange(marker.clone())).await;
    let cluster = stage.store.cluster_id();
    assert_eq!(
        stage.broker.marker().await.unwrap(),
        Marker::Present { cluster: Some(cluster), layout: Some(LAYOUT_VERSION) }
    );
    let group = persistent("a").group;
    let work = stage.layout.work_queue(&bus(), &group, 1, 1);
    let main = stage.layout.exchange(stage.layout.main(&bus()), ExchangeKind::Direct);
    let binding = Binding::of_queue(&main.name, &work.name, "");
    for _ in 0..2 {
        stage.apply(Action::DeclareExchange(main.clone())).await;
        stage.apply(Action::DeclareQueue(work.clone())).await;
        stage.apply(Action::Bind(binding.clone())).await;
    }
    let queue = work.name.clone();
    let observed = stage.broker.observe().await.unwrap();
    assert_eq!(observed.len(), 4);
    assert_eq!(observed.queues[&queue], work);
    let other = stage.layout.exchange(stage.layout.marker(), ExchangeKind::Fanout);
    let refused = stage.broker.apply(&Action::DeclareExchange(other)).await.unwrap_err();
    assert!(matches!(refused, BrokerError::Refused { .. }), "{refused}");
    stage.dispatch_here("1").await;
    assert_eq!(stage.apply(Action::DeleteQueue(queue.clone())).await, 1);
    assert_eq!(stage.apply(Action::DeleteQueue(queue.clone())).await, 0);
    assert_eq!(stage.broker.depth(&queue).await.unwrap(), None);
    assert!(stage.broker.version().await.unwrap().starts_with("embedded "));
}
