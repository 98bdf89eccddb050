//! Listeners that fail, and events that are none.

use super::scene::{event, gated, header, patient, quick, recorder, ruled, scene};
use crate::{
    broker::contract::{bus, converge, listener},
    support::wait,
};
use hearken::{
    bus::{EventBus, Failure},
    domain::span::Span,
};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use reqwest::Method;
use std::time::Duration;

#[tokio::test]
async fn a_failed_event_comes_again_after_growing_pauses_while_others_flow() {
    let retried = quick("a");
    let scene = scene(&[retried.clone(), listener("b")]).await;
    let node = scene.bus("n1");
    let handler = ruled(|event, execution| match (event.id.as_str(), execution.attempt) {
        ("bad", 0..5) => Err(Failure::new("it broke")),
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
    let seen = handler.began(11).await;
    consumer.stop.stop(patient()).await;
    beside.stop.stop(patient()).await;
    let bad: Vec<_> = seen.iter().filter(|seen| seen.id == "bad").collect();
    let attempts: Vec<u32> = bad.iter().map(|seen| seen.attempt).collect();
    // Three retries are configured; the last pause goes on.
    assert_eq!(attempts, [0, 1, 2, 3, 4, 5]);
    for (pair, millis) in bad.windows(2).zip([100, 200, 200, 200, 200]) {
        let pause = pair[1].at - pair[0].at;
        assert!(pause >= Duration::from_millis(millis), "{pause:?} instead of {millis} ms");
    }
    // One execution at a time, and still the others did not wait for the retries.
    let last_good = seen.iter().filter(|seen| seen.id != "bad").map(|seen| seen.at).max().unwrap();
    assert!(last_good < bad[5].at);
    // The other group has each event once.
    assert_eq!(other.ids().len(), 6);
    assert_eq!(scene.count(&scene.queue(&retried)).await, (0, 0));
}

#[tokio::test]
async fn a_pause_that_the_other_side_asks_for_is_kept() {
    let mut retried = listener("a");
    retried.retry.max = Span::from_millis(1_600);
    let scene = scene(std::slice::from_ref(&retried)).await;
    let node = scene.bus("n1");
    let handler = ruled(|_, execution| {
        let retry_after = Some(Duration::from_millis(600));
        if execution.attempt == 0 {
            Err(Failure { cause: "busy".into(), retry_after })
        } else {
            Ok(())
        }
    });
    let consumer = scene.consume(&node, &retried, handler.clone()).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let seen = handler.began(2).await;
    consumer.stop.stop(patient()).await;
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(800), "{seen:?}");
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
async fn what_is_no_event_is_parked_with_the_reason() {
    let scene = scene(&[listener("a")]).await;
    let node = scene.bus("n1");
    let handler = recorder();
    let consumer = scene.consume(&node, &listener("a"), handler.clone()).await;
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_message_id("m1".into())
        .with_expiration("60000".into());
    scene.publish(b"not an event", properties).await;
    let parked = scene.take(&scene.layout.parked(&bus())).await;
    assert_eq!(parked.delivery.data, b"not an event");
    let properties = &parked.delivery.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "m1");
    assert_eq!((properties.expiration(), *properties.delivery_mode()), (&None, Some(2)));
    assert_eq!(header(&parked, "x-hearken-group").unwrap(), "a");
    assert!(header(&parked, "x-hearken-error").unwrap().len() > 10);
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    consumer.stop.stop(patient()).await;
    assert_eq!(scene.count(&scene.queue(&listener("a"))).await, (0, 0));
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
async fn an_event_whose_group_is_gone_while_it_waits_is_parked() {
    let retried = quick("a");
    let scene = scene(std::slice::from_ref(&retried)).await;
    let node = scene.bus("n1");
    let handler = ruled(|_, _| Err(Failure::new("it broke")));
    let consumer = scene.consume(&node, &retried, handler.clone()).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    let queue = scene.queue(&retried);
    scene.host.api(Method::DELETE, &format!("queues/{}/{queue}", scene.host.name), None).await;
    let parked = scene.take(&scene.layout.parked(&bus())).await;
    assert_eq!(header(&parked, "x-hearken-group").unwrap(), "a");
    assert_eq!(header(&parked, "x-hearken-error").unwrap(), "it broke");
    consumer.stop.stop(patient()).await;
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
