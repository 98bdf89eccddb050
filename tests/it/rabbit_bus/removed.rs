//! Groups that are removed while events of theirs wait for a retry.

use super::scene::{Recorder, Scene, event, patient, quick, ruled, scene};
use crate::broker::contract::bus;
use crate::support::{bus::Dispatching as _, wait};
use futures_util::{FutureExt as _, future::ready};
use hearken::{
    broker::Broker,
    bus::{EventBus, Failure, rabbitmq::RabbitMqBus},
    domain::{listener::ListenerSpec, plan::Action, span::Span, topology::Binding},
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
fn once() -> Arc<Recorder> {
    ruled(|_, execution| match execution.attempt {
        0 => Err(Failure::new("it broke")),
        _ => Ok(()),
    })
}

/// An event of the group waits; no node consumes any more.
async fn one_waits(scene: &Scene, node: &RabbitMqBus) {
    let handler = once();
    let consumer = scene.consume(node, &slow(), handler.clone()).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    let waits = scene.layout.wait(&bus(), 1_600);
    wait::until("it waits", async || (scene.count(&waits).await.0 == 1).then_some(())).await;
    consumer.stop.stop(patient()).await;
}

/// What a removal does first, whether the queue is kept or not.
async fn unbind(scene: &Scene) {
    let main = scene.layout.main(&bus());
    let binding = Binding::of_queue(&main, &scene.queue(&slow()), "");
    scene.broker.apply(&Action::Unbind(binding)).await.unwrap();
}

#[tokio::test]
async fn an_event_waiting_for_a_kept_queue_comes_back_and_runs_when_the_group_does() {
    let scene = scene(&[slow()]).await;
    let node = scene.collector("n1");
    one_waits(&scene, &node).await;
    unbind(&scene).await;
    let queue = scene.queue(&slow());
    wait::until("it is back", async || (scene.count(&queue).await.0 == 1).then_some(())).await;
    let handler = once();
    let consumer = scene.consume(&node, &slow(), handler.clone()).await;
    let seen = handler.began(1).await;
    consumer.stop.stop(patient()).await;
    assert_eq!((seen[0].id.as_str(), seen[0].attempt), ("e1", 1));
    assert_eq!(scene.letters().await, []);
}

#[tokio::test]
async fn when_its_queue_is_drained_a_waiting_event_is_run_by_those_who_drain_it() {
    let scene = scene(&[slow()]).await;
    let node = scene.collector("n1");
    one_waits(&scene, &node).await;
    unbind(&scene).await;
    let handler = once();
    let mut consumption = scene.consumption(&slow());
    consumption.draining = true;
    let consumer = node.consume(consumption, handler.clone());
    handler.began(1).await;
    consumer.stop.stop(patient()).await;
    assert_eq!(handler.seen()[0].attempt, 1);
    assert_eq!(scene.count(&scene.queue(&slow())).await, (0, 0));
    assert_eq!(scene.letters().await, []);
}

#[tokio::test]
async fn when_its_events_are_discarded_a_waiting_event_is_dropped_and_not_kept() {
    let scene = scene(&[slow(), quick("b")]).await;
    let mut config = scene.config("n1");
    config.discards = Arc::new(|group| ready(group.as_str() == "a").boxed());
    let node = RabbitMqBus::new(config);
    one_waits(&scene, &node).await;
    let delete = Action::DeleteQueue(scene.queue(&slow()));
    scene.broker.apply(&delete).await.unwrap();
    let parked = scene.layout.parked(&bus());
    wait::until("it came back without a consumer", async || {
        (scene.count(&parked).await.0 == 1).then_some(())
    })
    .await;
    node.set_buses(&crate::support::bus::only(bus()));
    scene.emptied(&parked).await;
    node.close().await;
    // It is neither in the hands of the node that went nor in the database.
    assert_eq!((scene.count(&parked).await.0, scene.letters().await), (0, vec![]));
}
