//! Events that a group gives up.

use crate::support::{
    bus::Dispatching as _,
    proxy::{Proxy, Wire, port_of},
    services::database,
    stage::{
        PATIENCE, Stage,
        calls::{Calls, RecordedCall},
        specs::{bus, event, quick},
    },
    wait,
};
use hearken::{
    bus::{Failure, codec},
    store::Store,
};
use lapin::BasicProperties;
use std::collections::{BTreeMap, BTreeSet};

#[tokio::test]
async fn an_event_whose_attempts_are_used_up_is_kept_with_all_that_is_known_of_it() {
    let stage = Stage::rabbitmq().await.with([&quick("a"), &quick("b")]).await;
    let node = stage.bus("n1");
    let handler =
        Calls::answering(|_, execution| Err(Failure::new(format!("no {}", execution.attempt))));
    let well = Calls::well();
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    let beside = stage.consume(&node, &quick("b"), &well).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let letters = stage.kept(1).await;
    consumer.stop.stop(PATIENCE).await;
    beside.stop.stop(PATIENCE).await;
    // One execution and three retries.
    let attempts: Vec<u32> = handler.seen().iter().map(RecordedCall::attempt).collect();
    assert_eq!((attempts, well.ids().len(), letters.len()), (vec![0, 1, 2, 3], 1, 1));
    let letter = &letters[0];
    assert_eq!((letter.group.as_str(), letter.bus.as_str()), ("a", "mailboxEvent"));
    assert_eq!(
        (letter.event_id.as_deref(), letter.event_type.as_deref()),
        (Some("e1"), Some("Added"))
    );
    assert_eq!((letter.user.as_deref(), letter.node.as_str()), (Some("anna"), "n1"));
    assert_eq!((letter.cause.as_str(), letter.attempts, letter.previous), ("no 3", 4, None));
    assert!(letter.last_failed_at > letter.first_failed_at);
    assert_eq!(letter.content_type.as_deref(), Some(codec::CLOUDEVENTS_JSON));
    let (_, body) = stage.store.dead_letter(letter.id).await.unwrap().unwrap();
    assert_eq!(body, codec::encode_cloudevent(&event("e1")));
    assert_eq!(stage.count_of(&quick("a")).await, (0, 0));
}

#[tokio::test]
async fn a_permanent_failure_is_kept_at_once_and_only_once() {
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::answering(|_, _| Err(Failure::permanent("never")));
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    // The same message twice is what comes of a crash between keeping it and acknowledging it.
    let properties = || BasicProperties::default().with_timestamp(1_700_000_000);
    for _ in 0..2 {
        stage.publish(br#"{"Added": {"eventId": "j1"}}"#, properties()).await;
    }
    handler.began(2).await;
    stage.publish(br#"{"Added": {"eventId": "j2"}}"#, properties()).await;
    let letters = stage.kept(2).await;
    consumer.stop.stop(PATIENCE).await;
    let ids: Vec<_> = letters.iter().map(|letter| letter.event_id.as_deref().unwrap()).collect();
    assert_eq!((handler.ids().len(), ids), (3, vec!["j1", "j2"]));
    assert_eq!((letters[0].attempts, letters[0].cause.as_str()), (1, "never"));
    let (_, body) = stage.store.dead_letter(letters[0].id).await.unwrap().unwrap();
    assert_eq!(body, br#"{"Added": {"eventId": "j1"}}"#);
}

#[tokio::test]
async fn of_several_events_in_one_body_the_one_that_is_given_up_is_kept_alone() {
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::answering(|event, _| match event.id.as_str() {
        "j2" => Err(Failure::permanent("never")),
        _ => Ok(()),
    });
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    let one = |id: &str| format!(r#"{{"Added": {{"eventId": "{id}", "user": "anna"}}}}"#);
    let body = format!("[{}, {}, {}]", one("j1"), one("j2"), one("j3"));
    stage.publish(body.as_bytes(), BasicProperties::default()).await;
    let letters = stage.kept(1).await;
    handler.began(3).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!((handler.ids(), letters.len()), (vec!["j1".into(), "j2".into(), "j3".into()], 1));
    let (letter, body) = stage.store.dead_letter(letters[0].id).await.unwrap().unwrap();
    let event = codec::decode(letter.content_type.as_deref(), &body).unwrap();
    assert_eq!((event.id.as_str(), event.user.as_deref()), ("j2", Some("anna")));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_given_up_while_the_database_is_away_wait_in_the_broker_and_are_kept_once() {
    let count = 1_000;
    let mut stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let database = database().await;
    let proxy = Proxy::before(port_of(&database)).await;
    stage.store = Store::postgres(&proxy.through(&database)).await.unwrap();
    let node = stage.bus("n1");
    let handler = Calls::answering(|event, _| match event.id.as_str() {
        "good" => Ok(()),
        _ => Err(Failure::permanent("never")),
    });
    proxy.set(Wire::BlackHole);
    let name = bus();
    let events: Vec<_> = (0..count).map(|n| event(&format!("e{n}"))).collect();
    let dispatches = events.iter().map(|event| node.dispatch(&name, event, true));
    for outcome in futures_util::future::join_all(dispatches).await {
        outcome.unwrap();
    }
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    // Every event has run, and some again: with the same attempt, since none is counted.
    let seen = handler.began(count + 100).await;
    let once: BTreeSet<_> = seen.iter().map(RecordedCall::id).collect();
    assert!(once.len() < seen.len());
    assert!(seen.iter().all(|seen| seen.attempt() == 0));
    // None of them is in the way of an event that does well.
    node.dispatch(&bus(), &event("good"), true).await.unwrap();
    wait::until("it has run", async || handler.ids().contains(&"good".to_owned()).then_some(()))
        .await;
    // As many are held as run at once, and no more.
    assert!(handler.most() <= usize::from(quick("a").concurrency), "{}", handler.most());
    proxy.set(Wire::Up);
    stage.kept(count).await;
    for queue in [stage.queue(&quick("a")), stage.layout.wait(&bus(), 200)] {
        stage.emptied(&queue).await;
    }
    consumer.stop.stop(PATIENCE).await;
    let mut times = BTreeMap::<_, usize>::new();
    for letter in stage.letters().await {
        *times.entry(letter.event_id.unwrap()).or_default() += 1;
    }
    assert_eq!(times.len(), count);
    assert!(times.values().all(|times| *times == 1), "{times:?}");
}
