//! Consumers that end.

use super::scene::{event, gated, patient, scene, scene_of};
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
    domain::layout::{Layout, QueueType},
};
use std::time::Duration;

#[tokio::test]
async fn stopping_lets_the_events_in_hand_finish_and_takes_no_more() {
    // RabbitMQ before 4.3 counts a cancelled consumer of a quorum queue while it has events in hand.
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
async fn a_consumer_that_is_dropped_ends() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let consumer = scene.consume(&node, &listener("a"), gated(|_, _| Ok(()), 0)).await;
    drop(consumer);
    let queue = scene.queue(&listener("a"));
    wait::until("nobody consumes", async || (scene.count(&queue).await.1 == 0).then_some(())).await;
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
