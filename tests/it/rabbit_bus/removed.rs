//! Groups that are removed while events of theirs wait for a retry.

use crate::support::{
    bus::{DiscardGroup, Dispatching as _, only},
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        specs::{bus, event, quick},
    },
    wait,
};
use hearken::{
    bus::{EventBus, Failure, rabbitmq::RabbitMqBus},
    domain::{listener::ListenerSpec, plan::Action, span::Span},
};
use std::sync::Arc;

/// A listener whose events wait for a while.
fn slow() -> ListenerSpec {
    let mut listener = quick("a");
    listener.retry.first = Span::from_millis(1_600);
    listener.retry.max = Span::from_millis(1_600);
    listener
}

/// Fails the first execution of each event.
fn once() -> Arc<Calls> {
    Calls::answering(|_, execution| match execution.attempt {
        0 => Err(Failure::new("it broke")),
        _ => Ok(()),
    })
}

/// An event of the group waits; no node consumes any more.
async fn one_waits(stage: &Stage, node: &RabbitMqBus) {
    let handler = once();
    let consumer = stage.consume(node, &slow(), &handler).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    let waits = stage.layout.wait(&bus(), 1_600);
    wait::until("it waits", async || (stage.count(&waits).await.0 == 1).then_some(())).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_event_waiting_for_a_kept_queue_comes_back_and_runs_when_the_group_does() {
    let stage = Stage::rabbitmq().await.with([&slow()]).await;
    let node = stage.collector("n1");
    one_waits(&stage, &node).await;
    // A removal unbinds first, whether the queue is kept or not.
    stage.unbind(&slow()).await;
    let queue = stage.queue(&slow());
    wait::until("it is back", async || (stage.count(&queue).await.0 == 1).then_some(())).await;
    let handler = once();
    let consumer = stage.consume(&node, &slow(), &handler).await;
    let seen = handler.began(1).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!((seen[0].id(), seen[0].attempt()), ("e1", 1));
    assert_eq!(stage.letters().await, []);
}

#[tokio::test]
async fn a_waiting_event_of_a_drained_queue_is_run_by_the_consumers_that_drain_it() {
    let stage = Stage::rabbitmq().await.with([&slow()]).await;
    let node = stage.collector("n1");
    one_waits(&stage, &node).await;
    // A removal unbinds first, whether the queue is kept or not.
    stage.unbind(&slow()).await;
    let handler = once();
    let consumer = node.consume(stage.draining(&slow()), handler.clone());
    handler.began(1).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(handler.seen()[0].attempt(), 1);
    assert_eq!(stage.count_of(&slow()).await, (0, 0));
    assert_eq!(stage.letters().await, []);
}

#[tokio::test]
async fn when_its_events_are_discarded_a_waiting_event_is_dropped_and_not_kept() {
    let stage = Stage::rabbitmq().await.with([&slow(), &quick("b")]).await;
    let mut config = stage.config("n1");
    config.discards = Arc::new(DiscardGroup("a"));
    let node = RabbitMqBus::new(config);
    one_waits(&stage, &node).await;
    stage.apply(Action::DeleteQueue(stage.queue(&slow()))).await;
    let parked = stage.layout.parked(&bus());
    wait::until("it came back without a consumer", async || {
        (stage.count(&parked).await.0 == 1).then_some(())
    })
    .await;
    node.set_buses(&only(bus()));
    stage.emptied(&parked).await;
    node.close().await;
    // It is neither in the hands of the node that went nor in the database.
    assert_eq!((stage.count(&parked).await.0, stage.letters().await), (0, vec![]));
}
