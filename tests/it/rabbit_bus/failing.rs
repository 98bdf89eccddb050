//! Listeners that fail, and executions that end too late.

use crate::support::{
    bus::Dispatching as _,
    stage::{
        PATIENCE, Stage,
        calls::{Calls, RecordedCall},
        specs::{bus, event, listener, quick},
    },
    wait,
};
use hearken::{
    bus::{
        EventBus, Failure,
        rabbitmq::{RabbitMqBus, RabbitMqBusConfig},
    },
    clock::Clock,
    domain::span::Span,
};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use reqwest::Method;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

#[tokio::test]
async fn a_failed_event_comes_again_after_growing_pauses_while_others_flow() {
    let retried = quick("a");
    let stage = Stage::rabbitmq().await.with([&retried, &listener("b")]).await;
    let node = stage.bus("n1");
    let handler =
        Calls::answering(|event, execution| match (event.id.as_str(), execution.attempt) {
            ("bad", 0..3) => Err(Failure::new("it broke")),
            _ => Ok(()),
        });
    let mut narrow = retried.clone();
    narrow.concurrency = 1;
    let consumer = stage.consume(&node, &narrow, &handler).await;
    let other = Calls::well();
    let beside = stage.consume(&node, &listener("b"), &other).await;
    node.dispatch(&bus(), &event("bad"), true).await.unwrap();
    for n in 0..5 {
        node.dispatch(&bus(), &event(&format!("good{n}")), true).await.unwrap();
    }
    let seen = handler.began(9).await;
    consumer.stop.stop(PATIENCE).await;
    beside.stop.stop(PATIENCE).await;
    let bad: Vec<_> = seen.iter().filter(|seen| seen.id() == "bad").collect();
    let attempts: Vec<u32> = bad.iter().map(|call| call.attempt()).collect();
    assert_eq!(attempts, [0, 1, 2, 3]);
    for (pair, millis) in bad.windows(2).zip([100, 200, 200]) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(millis), "{pause:?} instead of {millis} ms");
    }
    // One execution at a time, and still the others did not wait for the retries.
    let last_good =
        seen.iter().filter(|seen| seen.id() != "bad").map(|seen| seen.at).max().unwrap();
    assert!(last_good < bad[3].at);
    // The other group has each event once.
    assert_eq!(other.ids().len(), 6);
    assert_eq!(stage.letters().await, []);
    assert_eq!(stage.count_of(&retried).await, (0, 0));
}

#[tokio::test]
async fn an_execution_that_takes_too_long_or_panics_has_failed() {
    let mut retried = quick("a");
    retried.timeout = Span::from_millis(300);
    let stage = Stage::rabbitmq().await.with([&retried]).await;
    let node = stage.bus("n1");
    // The first execution finds the gate closed; the second panics.
    let handler =
        Calls::held_answering(
            |_, execution| if execution.attempt == 1 { panic!("on purpose") } else { Ok(()) },
        );
    let consumer = stage.consume(&node, &retried, &handler).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let wait = stage.layout.wait(&bus(), 100);
    handler.began(1).await;
    wait::until("it waits for its retry", async || {
        (stage.count(&wait).await.0 > 0 || handler.seen().len() > 1).then_some(())
    })
    .await;
    handler.gate.add_permits(100);
    let seen = handler.began(3).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(seen.iter().map(RecordedCall::attempt).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(stage.count_of(&retried).await, (0, 0));
}

#[tokio::test]
async fn of_several_events_in_one_body_only_those_that_failed_run_again() {
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.bus("n1");
    let handler =
        Calls::answering(|event, execution| match (event.id.as_str(), execution.attempt) {
            ("j2", 0) => Err(Failure::new("it broke")),
            _ => Ok(()),
        });
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    let one = |id: &str| format!(r#"{{"Added": {{"eventId": "{id}", "user": "anna"}}}}"#);
    let body = format!("[{}, {}, {}]", one("j1"), one("j2"), one("j3"));
    stage.publish(body.as_bytes(), BasicProperties::default()).await;
    handler.began(4).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(handler.ids(), ["j1", "j2", "j2", "j3"]);
}

#[tokio::test]
async fn the_events_of_one_body_share_one_execution_time_and_the_rest_travels_on_alone() {
    let mut slow = quick("a");
    slow.timeout = Span::from_secs(60);
    slow.concurrency = 2;
    let stage = Stage::rabbitmq().await.with([&slow]).await;
    let (clock, hand) = Clock::turnable();
    let node = RabbitMqBus::new(RabbitMqBusConfig { clock, ..stage.config("n1") });
    let handler = Calls::held();
    let consumer = stage.consume(&node, &slow, &handler).await;
    let one = |id: &str| format!(r#"{{"Added": {{"eventId": "{id}", "user": "anna"}}}}"#);
    let body = format!("[{}, {}, {}, {}]", one("j1"), one("j2"), one("j3"), one("j4"));
    stage.publish(body.as_bytes(), BasicProperties::default()).await;
    // Two executions that each take more than half of the time.
    for count in 1..=2 {
        handler.began(count).await;
        hand.forward(Duration::from_secs(40));
        assert_eq!(handler.seen().len(), count);
        handler.gate.add_permits(1);
    }
    // In one delivery they would run one after the other.
    let seen = handler.began(4).await;
    assert_eq!(handler.ended(), 2);
    handler.gate.add_permits(2);
    consumer.stop.stop(PATIENCE).await;
    assert!(seen.iter().all(|seen| seen.attempt() == 0), "{seen:?}");
    assert_eq!(handler.ids(), ["j1", "j2", "j3", "j4"]);
}

#[tokio::test]
async fn a_failed_event_is_kept_while_its_wait_queue_is_away_and_its_queue_is_not_hot() {
    let retried = quick("a");
    let stage = Stage::rabbitmq().await.with([&retried]).await;
    let wait = stage.layout.wait(&bus(), 100);
    let path = |kind: &str| format!("{kind}/{}/{wait}", stage.host().name);
    stage.host().api(Method::DELETE, &path("queues"), None).await;
    stage.host().api(Method::DELETE, &path("exchanges"), None).await;
    let node = stage.bus("n1");
    let handler =
        Calls::answering(|event, execution| match (event.id.as_str(), execution.attempt) {
            ("bad", 0) => Err(Failure::new("it broke")),
            _ => Ok(()),
        });
    let consumer = stage.consume(&node, &retried, &handler).await;
    node.dispatch(&bus(), &event("bad"), true).await.unwrap();
    handler.began(1).await;
    for n in 0..20 {
        node.dispatch(&bus(), &event(&format!("good{n:02}")), true).await.unwrap();
    }
    handler.began(21).await;
    // Others ran meanwhile; the event was not thrown back and forth.
    assert_eq!(handler.ids().iter().filter(|id| *id == "bad").count(), 1);
    stage.redeclare().await;
    node.wake();
    let seen = handler.began(22).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!((seen[21].id(), seen[21].attempt()), ("bad", 1));
    assert_eq!(stage.count_of(&retried).await, (0, 0));
}

#[tokio::test]
async fn an_event_with_very_large_headers_fails_and_comes_again_like_any_other() {
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::answering(|_, execution| match execution.attempt {
        0 => Err(Failure::new("it broke")),
        _ => Ok(()),
    });
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    let mut headers = FieldTable::default();
    headers.insert("trace".into(), AMQPValue::LongString("x".repeat(60_000).into()));
    let body = br#"{"Added": {"eventId": "j1"}}"#;
    stage.publish(body, BasicProperties::default().with_headers(headers)).await;
    node.dispatch(&bus(), &event("e2"), true).await.unwrap();
    handler.began(4).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(handler.ids(), ["e2", "e2", "j1", "j1"]);
    assert_eq!(stage.count_of(&quick("a")).await, (0, 0));
}

/// A listener whose first execution of an event never ends.
fn endless() -> Arc<Calls> {
    Calls::new(|call| async move {
        match call.attempt() {
            0 => std::future::pending().await,
            _ => Ok(()),
        }
    })
    .arc()
}

#[tokio::test]
async fn an_execution_is_told_its_deadline_when_it_failed_first_and_that_it_is_not_wanted() {
    let mut hasty = quick("a");
    hasty.timeout = Span::from_millis(300);
    let stage = Stage::rabbitmq().await.with([&hasty]).await;
    let node = stage.bus("n1");
    let handler = endless();
    let before = Instant::now();
    let consumer = node.consume(stage.consumption(&hasty), handler.clone());
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let calls = handler.began(2).await;
    consumer.stop.stop(PATIENCE).await;
    let told: Vec<_> = calls.iter().map(RecordedCall::execution).collect();
    assert_eq!(told.len(), 2);
    assert!(told[0].deadline >= before + Duration::from_millis(300));
    assert!(told[0].cancelled.is_cancelled() && told[0].first_failed_at.is_none());
    assert!(!told[1].cancelled.is_cancelled() && told[1].first_failed_at.is_some());
    assert_eq!((told[1].group.as_str(), told[1].attempt), ("a", 1));
}

#[tokio::test]
async fn an_execution_that_is_given_up_is_told_so() {
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.bus("n1");
    let handler = endless();
    let consumer = node.consume(stage.consumption(&quick("a")), handler.clone());
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let told = handler.began(1).await[0].execution().clone();
    assert!(!told.cancelled.is_cancelled());
    consumer.stop.stop(Duration::from_millis(50)).await;
    assert!(told.cancelled.is_cancelled());
    let queue = stage.queue(&quick("a"));
    wait::until("it is back", async || (stage.count(&queue).await.0 == 1).then_some(())).await;
    assert_eq!(stage.letters().await, []);
}
