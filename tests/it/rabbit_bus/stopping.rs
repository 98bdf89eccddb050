//! Consumers that end.

use super::scene::{event, gated, patient, recorder, scene, scene_of};
use crate::support::bus::Dispatching as _;
use crate::{
    broker::{
        contract::{bus, listener},
        rabbitmq::layout,
    },
    support::wait,
};
use hearken::{
    bus::EventBus,
    domain::{
        layout::{Layout, QueueType},
        listener::{Delivery, Mode},
    },
};
use std::{sync::Arc, time::Duration};

#[tokio::test]
async fn stopping_lets_the_events_in_hand_finish_and_takes_no_more() {
    // RabbitMQ before 4.3 counts a cancelled consumer of a quorum queue while it holds
    // unacknowledged events.
    let classic = Layout { queue_type: QueueType::Classic, ..layout() };
    let scene = scene_of(classic, &[listener("a")]).await;
    let node = scene.bus("n1");
    let mut narrow = listener("a");
    narrow.concurrency = 2;
    let handler = gated(|_, _| Ok(()), 0);
    let consumer = scene.consume(&node, &narrow, handler.clone()).await;
    for n in 0..5 {
        node.dispatch(&bus(), &event(&format!("e{n}")), true).await.unwrap();
    }
    handler.began(2).await;
    let queue = scene.queue(&listener("a"));
    let stopping = tokio::spawn(consumer.stop.stop(patient()));
    wait::until("the consumer is cancelled", async || {
        (scene.count(&queue).await.1 == 0).then_some(())
    })
    .await;
    assert!(!stopping.is_finished());
    handler.gate.add_permits(100);
    stopping.await.unwrap();
    assert_eq!((handler.done(), handler.seen().len()), (2, 2));
    assert_eq!(scene.count(&queue).await, (3, 0));
}

#[tokio::test]
async fn stopping_without_patience_gives_the_events_in_hand_back() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let handler = gated(|_, _| Ok(()), 0);
    let consumer = scene.consume(&node, &listener("a"), handler.clone()).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    let queue = scene.queue(&listener("a"));
    wait::until("the event is back", async || (scene.count(&queue).await == (1, 0)).then_some(()))
        .await;
    assert_eq!(handler.done(), 0);
}

#[tokio::test]
async fn stopping_lets_inline_executions_finish_and_gives_them_up_when_patience_is_over() {
    let mut inline = listener("a");
    (inline.delivery, inline.mode, inline.concurrency) = (Delivery::EveryNode, Mode::Sync, 2);
    let scene = scene(std::slice::from_ref(&inline)).await;
    let node = Arc::new(scene.bus("n1"));
    let dispatching = || {
        let node = Arc::clone(&node);
        tokio::spawn(async move { node.dispatch(&bus(), &event("e1"), false).await })
    };
    let finishes = gated(|_, _| Ok(()), 0);
    let consumer = scene.consume(&node, &inline, finishes.clone()).await;
    let mut beside = inline.clone();
    beside.group = listener("b").group;
    let idle = scene.consume(&node, &beside, recorder()).await;
    let dispatch = dispatching();
    finishes.began(1).await;
    let stopping = tokio::spawn(consumer.stop.stop(patient()));
    // A stop that began later and has no execution to wait for ends first.
    idle.stop.stop(patient()).await;
    assert!(!stopping.is_finished());
    finishes.gate.add_permits(1);
    stopping.await.unwrap();
    dispatch.await.unwrap().unwrap();
    assert_eq!(finishes.done(), 1);

    let stuck = gated(|_, _| Ok(()), 0);
    let consumer = scene.consume(&node, &inline, stuck.clone()).await;
    let dispatch = dispatching();
    stuck.began(1).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    dispatch.await.unwrap().unwrap();
    assert_eq!(stuck.done(), 0);
}

#[tokio::test]
async fn a_consumer_that_is_dropped_ends() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let consumer = scene.consume(&node, &listener("a"), gated(|_, _| Ok(()), 0)).await;
    drop(consumer);
    let queue = scene.queue(&listener("a"));
    wait::until("consumers gone", async || (scene.count(&queue).await.1 == 0).then_some(())).await;
}

#[tokio::test]
async fn a_closed_bus_leaves_no_connection() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let consumer = scene.consume(&node, &listener("a"), gated(|_, _| Ok(()), 0)).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    wait::until("its connections are listed", async || {
        // The broker's admin connection, and two of the bus.
        (crate::support::connections::names(&scene.host).await.len() == 3).then_some(())
    })
    .await;
    consumer.stop.stop(Duration::ZERO).await;
    node.close().await;
    wait::until("its connections are gone", async || {
        (crate::support::connections::names(&scene.host).await.len() == 1).then_some(())
    })
    .await;
}
