//! Listeners that fail, and events that are none.

use super::scene::{event, gated, patient, quick, recorder, ruled, scene};
use crate::support::bus::Dispatching as _;
use crate::{
    broker::contract::{bus, converge, listener},
    support::wait,
};
use async_trait::async_trait;
use hearken::{
    bus::{EventBus, Execution, Failure, Listener, event::Event},
    domain::span::Span,
};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use reqwest::Method;
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

#[tokio::test]
async fn a_failed_event_comes_again_after_growing_pauses_while_others_flow() {
    let retried = quick("a");
    let scene = scene(&[retried.clone(), listener("b")]).await;
    let node = scene.bus("n1");
    let handler = ruled(|event, execution| match (event.id.as_str(), execution.attempt) {
        ("bad", 0..3) => Err(Failure::new("it broke")),
        _ => Ok(()),
    });
    let mut narrow = retried.clone();
    narrow.concurrency = 1;
    let consumer = scene.consume(&node, &narrow, handler.clone()).await;
    let other = recorder();
    let beside = scene.consume(&node, &listener("b"), other.clone()).await;
    node.dispatch(&bus(), &event("bad"), true).await.unwrap();
    for n in 0..5 {
        node.dispatch(&bus(), &event(&format!("good{n}")), true).await.unwrap();
    }
    let seen = handler.began(9).await;
    consumer.stop.stop(patient()).await;
    beside.stop.stop(patient()).await;
    let bad: Vec<_> = seen.iter().filter(|seen| seen.id == "bad").collect();
    let attempts: Vec<u32> = bad.iter().map(|seen| seen.attempt).collect();
    assert_eq!(attempts, [0, 1, 2, 3]);
    for (pair, millis) in bad.windows(2).zip([100, 200, 200]) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(millis), "{pause:?} instead of {millis} ms");
    }
    // One execution at a time, and still the others did not wait for the retries.
    let last_good = seen.iter().filter(|seen| seen.id != "bad").map(|seen| seen.at).max().unwrap();
    assert!(last_good < bad[3].at);
    // The other group has each event once.
    assert_eq!(other.ids().len(), 6);
    assert_eq!(scene.letters().await, []);
    assert_eq!(scene.count(&scene.queue(&retried)).await, (0, 0));
}

#[tokio::test]
async fn an_execution_that_takes_too_long_or_panics_has_failed() {
    let mut retried = quick("a");
    retried.timeout = Span::from_millis(300);
    let scene = scene(std::slice::from_ref(&retried)).await;
    let node = scene.bus("n1");
    // The first execution finds the gate closed; the second panics.
    let handler =
        gated(|_, execution| if execution.attempt == 1 { panic!("on purpose") } else { Ok(()) }, 0);
    let consumer = scene.consume(&node, &retried, handler.clone()).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let wait = scene.layout.wait(&bus(), 100);
    handler.began(1).await;
    wait::until("it waits for its retry", async || {
        (scene.count(&wait).await.0 > 0 || handler.seen().len() > 1).then_some(())
    })
    .await;
    handler.gate.add_permits(100);
    let seen = handler.began(3).await;
    consumer.stop.stop(patient()).await;
    assert_eq!(seen.iter().map(|seen| seen.attempt).collect::<Vec<_>>(), [0, 1, 2]);
    assert_eq!(scene.count(&scene.queue(&retried)).await, (0, 0));
}

#[tokio::test]
async fn of_several_events_in_one_body_only_those_that_failed_run_again() {
    let scene = scene(&[quick("a")]).await;
    let node = scene.bus("n1");
    let handler = ruled(|event, execution| match (event.id.as_str(), execution.attempt) {
        ("j2", 0) => Err(Failure::new("it broke")),
        _ => Ok(()),
    });
    let consumer = scene.consume(&node, &quick("a"), handler.clone()).await;
    let one = |id: &str| format!(r#"{{"Added": {{"eventId": "{id}", "user": "anna"}}}}"#);
    let body = format!("[{}, {}, {}]", one("j1"), one("j2"), one("j3"));
    scene.publish(body.as_bytes(), BasicProperties::default()).await;
    handler.began(4).await;
    consumer.stop.stop(patient()).await;
    assert_eq!(handler.ids(), ["j1", "j2", "j2", "j3"]);
}

#[tokio::test]
async fn the_events_of_one_body_share_one_execution_time_and_the_rest_travels_on_alone() {
    let mut slow = quick("a");
    slow.timeout = Span::from_secs(2);
    slow.concurrency = 2;
    let scene = scene(std::slice::from_ref(&slow)).await;
    let node = scene.bus("n1");
    let handler = gated(|_, _| Ok(()), 0);
    let consumer = scene.consume(&node, &slow, handler.clone()).await;
    let one = |id: &str| format!(r#"{{"Added": {{"eventId": "{id}", "user": "anna"}}}}"#);
    let body = format!("[{}, {}, {}, {}]", one("j1"), one("j2"), one("j3"), one("j4"));
    scene.publish(body.as_bytes(), BasicProperties::default()).await;
    // Two executions that each take more than half of the time.
    for count in 1..=2 {
        handler.began(count).await;
        tokio::time::sleep(Duration::from_millis(1_200)).await;
        assert_eq!(handler.seen().len(), count);
        handler.gate.add_permits(1);
    }
    // In one delivery they would run one after the other.
    let seen = handler.began(4).await;
    assert_eq!(handler.done(), 2);
    handler.gate.add_permits(2);
    consumer.stop.stop(patient()).await;
    assert!(seen.iter().all(|seen| seen.attempt == 0), "{seen:?}");
    assert_eq!(handler.ids(), ["j1", "j2", "j3", "j4"]);
}

#[tokio::test]
async fn a_failed_event_is_kept_while_its_wait_queue_is_away_and_its_queue_is_not_hot() {
    let retried = quick("a");
    let scene = scene(std::slice::from_ref(&retried)).await;
    let wait = scene.layout.wait(&bus(), 100);
    let path = |kind: &str| format!("{kind}/{}/{wait}", scene.host.name);
    scene.host.api(Method::DELETE, &path("queues"), None).await;
    scene.host.api(Method::DELETE, &path("exchanges"), None).await;
    let node = scene.bus("n1");
    let handler = ruled(|event, execution| match (event.id.as_str(), execution.attempt) {
        ("bad", 0) => Err(Failure::new("it broke")),
        _ => Ok(()),
    });
    let consumer = scene.consume(&node, &retried, handler.clone()).await;
    node.dispatch(&bus(), &event("bad"), true).await.unwrap();
    handler.began(1).await;
    for n in 0..20 {
        node.dispatch(&bus(), &event(&format!("good{n:02}")), true).await.unwrap();
    }
    handler.began(21).await;
    // Others ran meanwhile; the event was not thrown back and forth.
    assert_eq!(handler.ids().iter().filter(|id| *id == "bad").count(), 1);
    converge(&scene.broker, &scene.layout, std::slice::from_ref(&retried)).await;
    node.wake();
    let seen = handler.began(22).await;
    consumer.stop.stop(patient()).await;
    assert_eq!((seen[21].id.as_str(), seen[21].attempt), ("bad", 1));
    assert_eq!(scene.count(&scene.queue(&retried)).await, (0, 0));
}

#[tokio::test]
async fn an_event_with_very_large_headers_fails_and_comes_again_like_any_other() {
    let scene = scene(&[quick("a")]).await;
    let node = scene.bus("n1");
    let handler = ruled(|_, execution| match execution.attempt {
        0 => Err(Failure::new("it broke")),
        _ => Ok(()),
    });
    let consumer = scene.consume(&node, &quick("a"), handler.clone()).await;
    let mut headers = FieldTable::default();
    headers.insert("trace".into(), AMQPValue::LongString("x".repeat(60_000).into()));
    let body = br#"{"Added": {"eventId": "j1"}}"#;
    scene.publish(body, BasicProperties::default().with_headers(headers)).await;
    node.dispatch(&bus(), &event("e2"), true).await.unwrap();
    handler.began(4).await;
    consumer.stop.stop(patient()).await;
    assert_eq!(handler.ids(), ["e2", "e2", "j1", "j1"]);
    assert_eq!(scene.count(&scene.queue(&quick("a"))).await, (0, 0));
}

/// Remembers what it was told, and never ends the first time.
#[derive(Default)]
struct Endless(Mutex<Vec<Execution>>);

#[async_trait]
impl Listener for Endless {
    async fn on_event(&self, _: &Event, execution: &Execution) -> Result<(), Failure> {
        self.0.lock().unwrap().push(execution.clone());
        match execution.attempt {
            0 => std::future::pending().await,
            _ => Ok(()),
        }
    }
}

#[tokio::test]
async fn an_execution_is_told_its_deadline_when_it_failed_first_and_that_it_is_not_wanted() {
    let mut hasty = quick("a");
    hasty.timeout = Span::from_millis(300);
    let scene = scene(std::slice::from_ref(&hasty)).await;
    let node = scene.bus("n1");
    let handler = Arc::new(Endless::default());
    let before = Instant::now();
    let consumer = node.consume(scene.consumption(&hasty), handler.clone());
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let told = wait::until("it ran twice", async || {
        Some(handler.0.lock().unwrap().clone()).filter(|told| told.len() == 2)
    })
    .await;
    consumer.stop.stop(patient()).await;
    assert!(told[0].deadline >= before + Duration::from_millis(300));
    assert!(told[0].cancelled.is_cancelled() && told[0].first_failed_at.is_none());
    assert!(!told[1].cancelled.is_cancelled() && told[1].first_failed_at.is_some());
    assert_eq!((told[1].group.as_str(), told[1].attempt), ("a", 1));
}

#[tokio::test]
async fn an_execution_that_is_given_up_is_told_so() {
    let scene = scene(&[quick("a")]).await;
    let node = scene.bus("n1");
    let handler = Arc::new(Endless::default());
    let consumer = node.consume(scene.consumption(&quick("a")), handler.clone());
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let told = wait::until("it runs", async || handler.0.lock().unwrap().first().cloned()).await;
    assert!(!told.cancelled.is_cancelled());
    consumer.stop.stop(Duration::from_millis(50)).await;
    assert!(told.cancelled.is_cancelled());
    let queue = scene.queue(&quick("a"));
    wait::until("it is back", async || (scene.count(&queue).await.0 == 1).then_some(())).await;
    assert_eq!(scene.letters().await, []);
}
