//! Listeners called.

use crate::support::{
    bus::Dispatching as _,
    connections,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        running,
        specs::{bus, event, listener},
        waiting,
    },
    wait,
};
use hearken::{
    bus::{ConsumerState, EventBus},
    domain::{layout::ObjectName, listener::Delivery},
};
use lapin::{BasicProperties, options::ExchangeDeleteOptions};
use std::time::Duration;

#[tokio::test]
async fn two_nodes_share_the_events_of_a_group() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let (one, two) = (stage.bus("n1"), stage.bus("n2"));
    // Each holds what it is given until both have something.
    let (first, second) = (Calls::held(), Calls::held());
    let mut narrow = listener("a");
    narrow.concurrency = 1;
    let on_one = stage.consume(&one, &narrow, &first).await;
    let on_two = stage.consume(&two, &narrow, &second).await;
    for n in 0..10 {
        one.dispatch(&bus(), &event(&format!("e{n}")), true).await.unwrap();
    }
    first.began(1).await;
    second.began(1).await;
    first.gate.add_permits(100);
    second.gate.add_permits(100);
    wait::until("all have run", async || (first.ended() + second.ended() == 10).then_some(()))
        .await;
    on_one.stop.stop(PATIENCE).await;
    on_two.stop.stop(PATIENCE).await;
    let mut ids = [first.ids(), second.ids()].concat();
    ids.sort();
    assert_eq!(ids, (0..10).map(|n| format!("e{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_of_james_without_content_type_is_read() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::answering(|event, _| {
        assert_eq!((event.kind.as_str(), event.user.as_deref()), ("Added", Some("anna")));
        Ok(())
    });
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    let body = br#"{"Added": {"eventId": "j1", "user": "anna"}}"#;
    stage.publish(body, BasicProperties::default()).await;
    handler.began(1).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!((handler.ids(), handler.ended()), (vec!["j1".to_owned()], 1));
    assert_eq!(stage.count_of(&listener("a")).await.0, 0);
}

#[tokio::test]
async fn no_more_events_run_at_once_than_the_listener_wants() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let mut narrow = listener("a");
    narrow.concurrency = 3;
    let handler = Calls::held();
    let consumer = stage.consume(&node, &narrow, &handler).await;
    for n in 0..12 {
        node.dispatch(&bus(), &event(&format!("e{n}")), true).await.unwrap();
    }
    handler.began(3).await;
    // The connection is lost with three running: they are delivered again, and still not more
    // than three run at once.
    connections::close_all(stage.host()).await;
    waiting(&consumer, "").await;
    running(&consumer).await;
    handler.gate.add_permits(1000);
    wait::until("all have run", async || {
        let mut ids = handler.ids();
        ids.dedup();
        (ids.len() == 12).then_some(())
    })
    .await;
    assert_eq!(handler.most(), 3);
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(stage.count_of(&listener("a")).await, (0, 0));
}

#[tokio::test]
async fn a_noop_event_of_another_program_is_taken_and_runs_nowhere() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let mut noop = event("e1");
    noop.noop = true;
    let body = hearken::bus::codec::encode_cloudevent(&noop);
    let properties =
        BasicProperties::default().with_content_type(hearken::bus::codec::CLOUDEVENTS_JSON.into());
    stage.publish(&body, properties).await;
    node.dispatch(&bus(), &event("e2"), true).await.unwrap();
    let handler = Calls::well();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    handler.began(1).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(handler.ids(), ["e2"]);
    assert_eq!(stage.count_of(&listener("a")).await.0, 0);
}

#[tokio::test]
async fn every_node_gets_the_events_of_an_every_node_listener() {
    let mut everywhere = listener("a");
    everywhere.delivery = Delivery::EveryNode;
    let stage = Stage::rabbitmq().await.with([&everywhere]).await;
    let (one, two) = (stage.bus("n1"), stage.bus("n2"));
    let failing = |_: &_, _: &_| Err(hearken::bus::Failure::new("no"));
    let (first, second) = (Calls::answering(failing), Calls::well());
    let on_one = stage.consume(&one, &everywhere, &first).await;
    let on_two = stage.consume(&two, &everywhere, &second).await;
    one.dispatch(&bus(), &event("e1"), true).await.unwrap();
    stage.publish(b"not an event", BasicProperties::default()).await;
    one.dispatch(&bus(), &event("e2"), true).await.unwrap();
    first.began(2).await;
    second.began(2).await;
    on_one.stop.stop(PATIENCE).await;
    on_two.stop.stop(PATIENCE).await;
    // Neither a failure nor what is no event comes again.
    assert_eq!(
        (first.ids(), second.ids()),
        (vec!["e1".into(), "e2".into()], vec!["e1".into(), "e2".into()])
    );
    assert_eq!(stage.count(&stage.layout.parked(&bus())).await.0, 0);
    assert_eq!(stage.letters().await, []);
    // Their queues went with them, though the connections are still there.
    wait::until("no queue collects events without a consumer", async || {
        let observed = stage.broker.observe().await.unwrap();
        let of_node =
            |name: &String| matches!(stage.layout.read(name), Some(ObjectName::Node { .. }));
        (!observed.queues.keys().any(of_node)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_draining_queue_is_let_go_when_it_is_empty_and_taken_up_when_it_is_not() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    for n in 0..5 {
        node.dispatch(&bus(), &event(&format!("e{n}")), true).await.unwrap();
    }
    let handler = Calls::well();
    let consumer = node.consume(stage.draining(&listener("a")), handler.clone());
    handler.began(5).await;
    let queue = stage.queue(&listener("a"));
    let let_go = async || (stage.count(&queue).await == (0, 0)).then_some(());
    wait::until("the queue is let go", let_go).await;
    assert_eq!(*consumer.state.borrow(), ConsumerState::Running);
    node.dispatch(&bus(), &event("late"), true).await.unwrap();
    handler.began(6).await;
    wait::until("the queue is let go again", let_go).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_queue_that_appears_later_is_consumed_when_woken() {
    let stage = Stage::rabbitmq().await;
    let node = stage.bus("n1");
    let handler = Calls::well();
    let consumer = node.consume(stage.consumption(&listener("a")), handler.clone());
    let cause = waiting(&consumer, "NOT_FOUND").await;
    assert!(cause.contains(&stage.queue(&listener("a"))), "{cause}");
    stage.add([&listener("a")]).await;
    node.wake();
    running(&consumer).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_every_node_listener_hears_again_after_its_exchange_was_declared_again() {
    let mut everywhere = listener("b");
    everywhere.delivery = Delivery::EveryNode;
    let stage = Stage::rabbitmq().await.with([&everywhere]).await;
    let (node, handler) = (stage.bus("n1"), Calls::well());
    let consumer = stage.consume(&node, &everywhere, &handler).await;
    let (_connection, channel) = stage.plain().await;
    let (main, options) = (stage.layout.main(&bus()).into(), ExchangeDeleteOptions::default());
    channel.exchange_delete(main, options).await.unwrap();
    stage.redeclare().await;
    wait::within(Duration::from_mins(1), "it is called again", async || {
        node.dispatch(&bus(), &event("e1"), false).await.unwrap();
        (!handler.ids().is_empty()).then_some(())
    })
    .await;
    consumer.stop.stop(PATIENCE).await;
}
