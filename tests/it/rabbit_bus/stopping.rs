//! Consumers that end.

use crate::support::{
    bus::Dispatching as _,
    connections,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        specs::{bus, event, listener},
    },
    wait,
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
async fn stopping_lets_running_executions_finish_and_takes_no_more_events() {
    // RabbitMQ before 4.3 counts a cancelled consumer of a quorum queue while it holds
    // unacknowledged events.
    let classic = Layout { queue_type: QueueType::Classic, ..Layout::default() };
    let stage = Stage::rabbitmq_laid_out(&classic).await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let mut narrow = listener("a");
    narrow.concurrency = 2;
    let handler = Calls::held();
    let consumer = stage.consume(&node, &narrow, &handler).await;
    for n in 0..5 {
        node.dispatch(&bus(), &event(&format!("e{n}")), true).await.unwrap();
    }
    handler.began(2).await;
    let queue = stage.queue(&listener("a"));
    let stopping = tokio::spawn(consumer.stop.stop(PATIENCE));
    wait::until("the consumer is cancelled", async || {
        (stage.count(&queue).await.1 == 0).then_some(())
    })
    .await;
    assert!(!stopping.is_finished());
    handler.gate.add_permits(100);
    stopping.await.unwrap();
    assert_eq!((handler.ended(), handler.seen().len()), (2, 2));
    assert_eq!(stage.count(&queue).await, (3, 0));
}

#[tokio::test]
async fn stopping_without_patience_gives_unacknowledged_events_back() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::held();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    let queue = stage.queue(&listener("a"));
    wait::until("the event is back", async || (stage.count(&queue).await == (1, 0)).then_some(()))
        .await;
    assert_eq!(handler.ended(), 0);
}

#[tokio::test]
async fn stopping_lets_inline_executions_finish_and_gives_them_up_when_patience_is_over() {
    let mut inline = listener("a");
    (inline.delivery, inline.mode, inline.concurrency) = (Delivery::EveryNode, Mode::Sync, 2);
    let stage = Stage::rabbitmq().await.with([&inline]).await;
    let node = Arc::new(stage.bus("n1"));
    let dispatching = || {
        let node = Arc::clone(&node);
        tokio::spawn(async move { node.dispatch(&bus(), &event("e1"), false).await })
    };
    let finishes = Calls::held();
    let consumer = stage.consume(&*node, &inline, &finishes).await;
    let mut beside = inline.clone();
    beside.group = listener("b").group;
    let idle = stage.consume(&*node, &beside, &Calls::well()).await;
    let dispatch = dispatching();
    finishes.began(1).await;
    let stopping = tokio::spawn(consumer.stop.stop(PATIENCE));
    // A stop that began later and has no execution to wait for ends first.
    idle.stop.stop(PATIENCE).await;
    assert!(!stopping.is_finished());
    finishes.gate.add_permits(1);
    stopping.await.unwrap();
    dispatch.await.unwrap().unwrap();
    assert_eq!(finishes.ended(), 1);

    let stuck = Calls::held();
    let consumer = stage.consume(&*node, &inline, &stuck).await;
    let dispatch = dispatching();
    stuck.began(1).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    dispatch.await.unwrap().unwrap();
    assert_eq!(stuck.ended(), 0);
}

#[tokio::test]
async fn a_consumer_that_is_dropped_ends() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let consumer = stage.consume(&node, &listener("a"), &Calls::held()).await;
    drop(consumer);
    let queue = stage.queue(&listener("a"));
    wait::until("consumers gone", async || (stage.count(&queue).await.1 == 0).then_some(())).await;
}

#[tokio::test]
async fn a_closed_bus_leaves_no_connection() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let consumer = stage.consume(&node, &listener("a"), &Calls::held()).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    wait::until("its connections are listed", async || {
        // The broker's admin connection; the bus publishes, consumes and looks for queues.
        (connections::names(stage.host()).await.len() == 4).then_some(())
    })
    .await;
    consumer.stop.stop(Duration::ZERO).await;
    node.close().await;
    wait::until("its connections are gone", async || {
        (connections::names(stage.host()).await.len() == 1).then_some(())
    })
    .await;
}
