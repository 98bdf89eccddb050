//! Events that cannot be published.

use super::scene::{Cluster, embedded};
use crate::{
    broker::contract::{bus, listener},
    local_bus::scene::{Calls, LONG, event},
    support::{
        bus::keys,
        proxy::{Proxy, Wire, port_of},
    },
};
use hearken::{
    bus::{DispatchError, codec::decode, event::Data},
    dispatch::{BatchError, NoSuchBus},
    domain::{
        command::{Command, Pending},
        listener::ListenerSpec,
    },
};
use std::error::Error;

#[tokio::test]
async fn an_event_that_cannot_be_published_is_kept_with_its_keys_and_its_caller_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let (node, half) = embedded(folder.path(), &[listener("a")]).await;
    half.declare_bus().await;
    let batch = vec![(event("1"), keys(["k1", "k2"])), (event("1"), keys([]))];
    node.dispatcher.dispatch(&bus(), batch).await.unwrap();
    let letters = node.letters(2).await;
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
        (Some("bob"), 1, "solo")
    );
    assert!(first.cause.contains("routes to none of them"), "{}", first.cause);
    let (_, body) = node.store.dead_letter(first.id).await.unwrap().unwrap();
    let (kept, sent) = (decode(first.content_type.as_deref(), &body).unwrap(), event("1"));
    let (Data::Json(kept), Data::Json(sent)) = (&kept.data, &sent.data) else { panic!("{kept:?}") };
    assert_eq!(kept.get(), sent.get());
}

#[tokio::test]
async fn an_event_that_no_listener_should_get_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let (node, half) = embedded(folder.path(), &[]).await;
    half.declare_bus().await;
    // There is no listener.
    node.dispatch(&[event("1")]).await.unwrap();
    let noop = decode(None, br#"{"Added":{"eventId":"noop","added":{}}}"#).unwrap();
    node.command(Command::AddListener(listener("a"))).await;
    node.dispatch(&[noop]).await.unwrap();
    node.letters(0).await;
}

#[tokio::test]
async fn an_event_for_a_bus_that_there_is_not_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (node, _half) = embedded(folder.path(), &[]).await;
    let other = "other".parse().unwrap();
    let refused = node.dispatcher.dispatch(&other, vec![(event("1"), keys([]))]).await;
    assert!(matches!(refused, Err(BatchError::NoSuchBus(NoSuchBus(bus))) if bus == other));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_kept_while_rabbitmq_is_away_and_published_in_order_when_it_is_back() {
    let listener = ListenerSpec { concurrency: 1, ..listener("a") };
    let cluster = Cluster::of(std::slice::from_ref(&listener)).await;
    let wire = Proxy::before(port_of(&cluster.host.amqp)).await;
    let node = cluster.node_at("n1", &wire.through(&cluster.host.amqp), &cluster.database).await;
    node.dispatch(&[event("before")]).await.unwrap();
    wire.set(Wire::Cut);
    let batch: Vec<_> = (0..30).map(|n| event(&format!("e{n}"))).collect();
    node.dispatch(&batch).await.unwrap();
    node.dispatch(&[event("last")]).await.unwrap();
    node.letters(31).await;
    let _running = node.redispatch();
    wire.set(Wire::Up);
    node.letters(0).await;
    let calls = Calls::succeeding();
    let consumer = cluster.node("n2").await.consume(&listener, calls.clone());
    let expected: Vec<_> = ["before".to_owned()]
        .into_iter()
        .chain((0..30).map(|n| format!("e{n}")))
        .chain(["last".to_owned()])
        .collect();
    let all: Vec<_> = expected.iter().map(|id| (id.as_str(), 0)).collect();
    calls.are(&all).await;
    let order: Vec<_> = calls.seen().into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, expected);
    consumer.stop.stop(LONG).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_whose_event_neither_rabbitmq_nor_postgresql_takes_is_told_both_causes() {
    let cluster = Cluster::of(&[listener("a")]).await;
    let wire = Proxy::before(port_of(&cluster.host.amqp)).await;
    let disk = Proxy::before(port_of(&cluster.database)).await;
    let (amqp, database) = (wire.through(&cluster.host.amqp), disk.through(&cluster.database));
    let node = cluster.node_at("n1", &amqp, &database).await;
    wire.set(Wire::Cut);
    disk.set(Wire::Cut);
    let refused = node.dispatch(&[event("1")]).await.unwrap_err();
    let BatchError::NotAccepted { accepted, mut failed } = refused else { panic!("{refused}") };
    assert!(accepted.is_empty());
    let (id, error) = failed.remove(0);
    let said = error.to_string();
    assert!(matches!(error, DispatchError::Unavailable { .. }) && id == "1");
    assert!(said.contains("RabbitMQ") && said.contains("database"), "{said}");
    assert!(error.source().is_some());
    disk.set(Wire::Up);
    node.letters(0).await;
}

#[tokio::test]
async fn a_listener_that_was_removed_makes_no_event_fail() {
    let folder = tempfile::tempdir().unwrap();
    let (node, half) = embedded(folder.path(), &[listener("a")]).await;
    half.declare_bus().await;
    node.dispatch(&[event("1")]).await.unwrap();
    node.letters(1).await;
    let group = listener("a").group;
    node.command(Command::RemoveListener { group, pending: Pending::Keep }).await;
    node.dispatch(&[event("2")]).await.unwrap();
    node.letters(1).await;
    // No listener is left to get it, so it is as good as published.
    let _running = node.redispatch();
    node.letters(0).await;
}
