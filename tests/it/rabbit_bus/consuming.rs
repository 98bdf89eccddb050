//! Listeners called.

use super::scene::{event, gated, patient, recorder, ruled, running, scene};
use crate::support::bus::Dispatching as _;
use crate::{
    broker::contract::{bus, converge, listener},
    support::wait,
};
use hearken::{
    broker::Broker,
    bus::{ConsumerState, EventBus},
    domain::listener::Delivery,
};
use lapin::{BasicProperties, options::ExchangeDeleteOptions};
use std::time::Duration;

#[tokio::test]
async fn two_nodes_share_the_events_of_a_group() {
    let scene = scene(&[listener("a")]).await;
    let (one, two) = (scene.bus("n1"), scene.bus("n2"));
    // Each holds what it is given until both have something.
    let (first, second) = (gated(|_, _| Ok(()), 0), gated(|_, _| Ok(()), 0));
    let mut narrow = listener("a");
    narrow.concurrency = 1;
    let on_one = scene.consume(&one, &narrow, first.clone()).await;
    let on_two = scene.consume(&two, &narrow, second.clone()).await;
    for n in 0..10 {
        one.dispatch(&bus(), &event(&format!("e{n}")), true).await.unwrap();
    }
    first.began(1).await;
    second.began(1).await;
    first.gate.add_permits(100);
    second.gate.add_permits(100);
    wait::until("all have run", async || (first.done() + second.done() == 10).then_some(())).await;
    on_one.stop.stop(patient()).await;
    on_two.stop.stop(patient()).await;
    let mut ids = [first.ids(), second.ids()].concat();
    ids.sort();
    assert_eq!(ids, (0..10).map(|n| format!("e{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn an_event_of_james_without_content_type_is_read() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let handler = ruled(|event, _| {
        assert_eq!((event.kind.as_str(), event.user.as_deref()), ("Added", Some("anna")));
        Ok(())
    });
    let consumer = scene.consume(&node, &listener("a"), handler.clone()).await;
    let body = br#"{"Added": {"eventId": "j1", "user": "anna"}}"#;
    scene.publish(body, BasicProperties::default()).await;
    handler.began(1).await;
    consumer.stop.stop(patient()).await;
    assert_eq!((handler.ids(), handler.done()), (vec!["j1".to_owned()], 1));
    assert_eq!(scene.count(&scene.queue(&listener("a"))).await.0, 0);
}

#[tokio::test]
async fn no_more_events_run_at_once_than_the_listener_wants() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let mut narrow = listener("a");
    narrow.concurrency = 3;
    let handler = gated(|_, _| Ok(()), 0);
    let consumer = scene.consume(&node, &narrow, handler.clone()).await;
    for n in 0..12 {
        node.dispatch(&bus(), &event(&format!("e{n}")), true).await.unwrap();
    }
    handler.began(3).await;
    // The connection is lost with three running: they are delivered again, and still not more
    // than three run at once.
    crate::support::connections::close_all(&scene.host).await;
    super::scene::waiting(&consumer, "").await;
    running(&consumer).await;
    handler.gate.add_permits(1000);
    wait::until("all have run", async || {
        let mut ids = handler.ids();
        ids.dedup();
        (ids.len() == 12).then_some(())
    })
    .await;
    assert_eq!(handler.most(), 3);
    consumer.stop.stop(patient()).await;
    assert_eq!(scene.count(&scene.queue(&listener("a"))).await, (0, 0));
}

#[tokio::test]
async fn a_noop_event_of_another_program_is_taken_and_runs_nowhere() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let mut noop = event("e1");
    noop.noop = true;
    let body = hearken::bus::codec::encode_cloudevent(&noop);
    let properties =
        BasicProperties::default().with_content_type(hearken::bus::codec::CLOUDEVENTS_JSON.into());
    scene.publish(&body, properties).await;
    node.dispatch(&bus(), &event("e2"), true).await.unwrap();
    let handler = recorder();
    let consumer = scene.consume(&node, &listener("a"), handler.clone()).await;
    handler.began(1).await;
    consumer.stop.stop(patient()).await;
    assert_eq!(handler.ids(), ["e2"]);
    assert_eq!(scene.count(&scene.queue(&listener("a"))).await.0, 0);
}

#[tokio::test]
async fn every_node_gets_the_events_of_an_every_node_listener() {
    let mut everywhere = listener("a");
    everywhere.delivery = Delivery::EveryNode;
    let scene = scene(std::slice::from_ref(&everywhere)).await;
    let (one, two) = (scene.bus("n1"), scene.bus("n2"));
    let failing = |_: &_, _: &_| Err(hearken::bus::Failure::new("no"));
    let (first, second) = (ruled(failing), recorder());
    let on_one = scene.consume(&one, &everywhere, first.clone()).await;
    let on_two = scene.consume(&two, &everywhere, second.clone()).await;
    one.dispatch(&bus(), &event("e1"), true).await.unwrap();
    scene.publish(b"not an event", BasicProperties::default()).await;
    one.dispatch(&bus(), &event("e2"), true).await.unwrap();
    first.began(2).await;
    second.began(2).await;
    on_one.stop.stop(patient()).await;
    on_two.stop.stop(patient()).await;
    // Neither a failure nor what is no event comes again.
    assert_eq!(
        (first.ids(), second.ids()),
        (vec!["e1".into(), "e2".into()], vec!["e1".into(), "e2".into()])
    );
    assert_eq!(scene.count(&scene.layout.parked(&bus())).await.0, 0);
    assert_eq!(scene.letters().await, []);
    // Their queues went with them, though the connections are still there.
    wait::until("no queue collects events without a consumer", async || {
        let observed = scene.broker.observe().await.unwrap();
        (!observed.queues.keys().any(|name| name.contains(".node."))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_draining_queue_is_let_go_when_it_is_empty_and_taken_up_when_it_is_not() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    for n in 0..5 {
        node.dispatch(&bus(), &event(&format!("e{n}")), true).await.unwrap();
    }
    let handler = recorder();
    let mut consumption = scene.consumption(&listener("a"));
    consumption.draining = true;
    let consumer = node.consume(consumption, handler.clone());
    handler.began(5).await;
    let queue = scene.queue(&listener("a"));
    let let_go = async || (scene.count(&queue).await == (0, 0)).then_some(());
    wait::until("the queue is let go", let_go).await;
    assert_eq!(*consumer.state.borrow(), ConsumerState::Running);
    node.dispatch(&bus(), &event("late"), true).await.unwrap();
    handler.began(6).await;
    wait::until("the queue is let go again", let_go).await;
    consumer.stop.stop(patient()).await;
}

#[tokio::test]
async fn a_queue_that_appears_later_is_consumed_when_woken() {
    let scene = scene(&[]).await;
    let node = scene.bus("n1");
    let handler = recorder();
    let consumer = node.consume(scene.consumption(&listener("a")), handler.clone());
    let cause = super::scene::waiting(&consumer, "NOT_FOUND").await;
    assert!(cause.contains(&scene.queue(&listener("a"))), "{cause}");
    converge(&scene.broker, &scene.layout, &[listener("a")]).await;
    node.wake();
    running(&consumer).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    consumer.stop.stop(patient()).await;
}

#[tokio::test]
async fn an_every_node_listener_hears_again_from_an_exchange_that_was_made_anew() {
    let mut everywhere = listener("b");
    everywhere.delivery = Delivery::EveryNode;
    let scene = scene(&[everywhere.clone()]).await;
    let (node, handler) = (scene.bus("n1"), recorder());
    let consumer = scene.consume(&node, &everywhere, handler.clone()).await;
    let (_connection, channel) = scene.plain().await;
    let (main, options) = (scene.layout.main(&bus()).into(), ExchangeDeleteOptions::default());
    channel.exchange_delete(main, options).await.unwrap();
    converge(&scene.broker, &scene.layout, &[everywhere]).await;
    wait::within(Duration::from_mins(1), "it is called again", async || {
        node.dispatch(&bus(), &event("e1"), false).await.unwrap();
        (!handler.ids().is_empty()).then_some(())
    })
    .await;
    consumer.stop.stop(patient()).await;
}
