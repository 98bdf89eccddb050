//! Events that cannot be published.

use crate::support::{
    proxy::{Proxy, Wire, port_of},
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        specs::{bus, event, keys, listener},
    },
};
use hearken::{
    bus::{DispatchError, codec::decode, event::Data},
    dispatch::{BatchError, NoSuchBus, NotAccepted},
    domain::{
        command::{Command, Pending},
        listener::ListenerSpec,
    },
};
use std::error::Error;

#[tokio::test]
async fn an_event_that_cannot_be_published_is_kept_with_its_keys_and_its_caller_succeeds() {
    let stage = Stage::embedded().await;
    stage.enroll([&listener("a")]).await;
    let node = stage.node("solo");
    let batch = vec![(event("1"), keys(["k1", "k2"])), (event("1"), keys([]))];
    node.dispatcher.dispatch(&bus(), batch).await.unwrap();
    let letters = stage.letters_are(2).await;
    let [first, second] = &letters[..] else { panic!("{letters:?}") };
    assert_ne!(first.id, second.id);
    assert_eq!((&first.keys, &second.keys), (&keys(["k1", "k2"]), &keys([])));
    assert_eq!((first.group.as_str(), &first.bus), ("dispatch-failure", &bus()));
    assert_eq!(
        (first.event_id.as_deref(), first.event_type.as_deref()),
        (Some("1"), Some("Added"))
    );
    assert_eq!(
        (first.user.as_deref(), first.attempts, first.node.as_str()),
        (Some("anna"), 1, "solo")
    );
    assert!(first.cause.contains("routes to none of them"), "{}", first.cause);
    let (_, body) = stage.store.dead_letter(first.id).await.unwrap().unwrap();
    let (kept, sent) = (decode(first.content_type.as_deref(), &body).unwrap(), event("1"));
    let (Data::Json(kept), Data::Json(sent)) = (&kept.data, &sent.data) else { panic!("{kept:?}") };
    assert_eq!(kept.get(), sent.get());
}

#[tokio::test]
async fn an_event_that_no_listener_should_get_is_not_kept() {
    let stage = Stage::embedded().await;
    let node = stage.node("solo");
    // There is no listener.
    node.try_dispatch_all(&[event("1")]).await.unwrap();
    let noop = decode(None, br#"{"Added":{"eventId":"noop","added":{}}}"#).unwrap();
    stage.command(Command::AddListener(listener("a"))).await.unwrap();
    node.try_dispatch_all(&[noop]).await.unwrap();
    stage.letters_are(0).await;
}

#[tokio::test]
async fn an_event_for_a_bus_that_there_is_not_is_refused() {
    let stage = Stage::embedded().await;
    let node = stage.node("solo");
    let other = "other".parse().unwrap();
    let refused = node.dispatcher.dispatch(&other, vec![(event("1"), keys([]))]).await;
    assert!(matches!(refused, Err(BatchError::NoSuchBus(NoSuchBus(bus))) if bus == other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_kept_while_rabbitmq_is_away_and_published_in_order_when_it_is_back() {
    let listener = ListenerSpec { concurrency: 1, ..listener("a") };
    let stage = Stage::cluster().await.with([&listener]).await;
    let wire = Proxy::before(port_of(&stage.host().amqp)).await;
    let node = stage.member_at("n1", &wire.through(&stage.host().amqp), stage.database()).await;
    node.try_dispatch_all(&[event("before")]).await.unwrap();
    wire.set(Wire::Cut);
    let batch: Vec<_> = (0..30).map(|n| event(&format!("e{n}"))).collect();
    node.try_dispatch_all(&batch).await.unwrap();
    node.try_dispatch_all(&[event("last")]).await.unwrap();
    stage.letters_are(31).await;
    let _running = node.redispatch();
    wire.set(Wire::Up);
    stage.letters_are(0).await;
    let calls = Calls::well();
    let consumer = stage.consume(&*stage.member("n2").await.bus, &listener, &calls).await;
    let expected: Vec<_> = ["before".to_owned()]
        .into_iter()
        .chain((0..30).map(|n| format!("e{n}")))
        .chain(["last".to_owned()])
        .collect();
    let all: Vec<_> = expected.iter().map(|id| (id.as_str(), 0)).collect();
    calls.reach(&all).await;
    let order: Vec<_> = calls.attempts().into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, expected);
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_event_neither_rabbitmq_nor_postgresql_takes_is_told_both_causes() {
    let stage = Stage::cluster().await.with([&listener("a")]).await;
    let wire = Proxy::before(port_of(&stage.host().amqp)).await;
    let disk = Proxy::before(port_of(stage.database())).await;
    let (amqp, database) = (wire.through(&stage.host().amqp), disk.through(stage.database()));
    let node = stage.member_at("n1", &amqp, &database).await;
    wire.set(Wire::Cut);
    disk.set(Wire::Cut);
    let refused = node.try_dispatch_all(&[event("1")]).await.unwrap_err();
    let BatchError::NotAccepted { accepted, mut failed } = refused else { panic!("{refused}") };
    assert!(accepted.is_empty());
    let NotAccepted { id, error } = failed.remove(0);
    let said = error.to_string();
    assert!(matches!(error, DispatchError::Unavailable { .. }) && id == "1");
    assert!(said.contains("RabbitMQ") && said.contains("database"), "{said}");
    assert!(error.source().is_some());
    disk.set(Wire::Up);
    stage.letters_are(0).await;
}

#[tokio::test]
async fn a_listener_that_was_removed_makes_no_event_fail() {
    let stage = Stage::embedded().await;
    stage.enroll([&listener("a")]).await;
    let node = stage.node("solo");
    node.try_dispatch_all(&[event("1")]).await.unwrap();
    stage.letters_are(1).await;
    let group = listener("a").group;
    stage.command(Command::RemoveListener { group, pending: Pending::Keep }).await.unwrap();
    node.try_dispatch_all(&[event("2")]).await.unwrap();
    stage.letters_are(1).await;
    // No listener is left to get it, so it is as good as published.
    let _running = node.redispatch();
    stage.letters_are(0).await;
}
