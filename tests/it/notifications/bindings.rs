//! The bindings of a node's queue, as the broker lists them.

use crate::support::{
    bus::plain,
    connections,
    proxy::{Proxy, Wire, port_of},
    stage::{
        Stage,
        calls::Calls,
        keys::{established, follow, send},
        specs::{bus, keys},
    },
    wait,
};
use hearken::{
    bus::{EventBus, KeyListener},
    domain::{listener::Mode, name::RegistrationKey},
};
use lapin::options::ExchangeDeleteOptions;
use reqwest::Method;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// The queues that have a key of the keys exchange.
async fn bound(stage: &Stage, key: &str) -> Vec<String> {
    let exchange = stage.layout.keys(&bus());
    let path = format!("exchanges/{}/{exchange}/bindings/source", stage.host().name);
    let listed = stage.host().api(Method::GET, &path, None).await;
    let rows = listed.as_array().into_iter().flatten();
    let rows = rows.filter(|row: &&Value| row["routing_key"] == key);
    rows.filter_map(|row| row["destination"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_many_followers_is_bound_once_and_unbound_after_the_last_left() {
    let stage = Stage::rabbitmq().await;
    let [node, _other] = stage.pair();
    let registrations: Vec<_> = (0..50)
        .map(|_| {
            let listener: Arc<dyn KeyListener> = Calls::follower(Mode::Async);
            node.register(&plain(&bus()), keys(["a"]), listener)
        })
        .collect();
    for registration in &registrations {
        established(registration).await;
    }
    let queues = bound(&stage, "a").await;
    assert_eq!(queues.len(), 1, "{queues:?}");
    drop(registrations);
    // A listener that comes back soon finds the key still bound.
    let listener = Calls::follower(Mode::Async);
    let back = follow(&node, ["a"], &listener).await;
    assert_eq!(bound(&stage, "a").await, queues);
    send(&node, "1", ["a"]).await;
    assert_eq!(listener.called(1).await, ["1"]);
    drop(back);
    assert_eq!(bound(&stage, "a").await, queues);
    wait::within(Duration::from_mins(1), "the key is unbound", async || {
        bound(&stage, "a").await.is_empty().then_some(())
    })
    .await;
    let _again = follow(&node, ["a"], &listener).await;
    assert_eq!(bound(&stage, "a").await, queues, "by the same queue");
}

/// Breaks something, and waits until a listener was told and hears again.
async fn mended(
    stage: &Stage,
    nodes: [&Arc<dyn EventBus>; 2],
    wakes: bool,
    breaking: impl AsyncFnOnce(),
) {
    let [node, other] = nodes;
    let listener = Calls::follower(Mode::Async);
    let registration = follow(node, ["a", "b"], &listener).await;
    send(other, "before", ["a"]).await;
    listener.called(1).await;
    let before = bound(stage, "a").await;
    breaking().await;
    wait::until("the listener is told to resynchronise", async || {
        // As the reconciler does after it has changed something.
        if wakes {
            node.wake();
        }
        (listener.resynchronised() > 0).then_some(())
    })
    .await;
    established(&registration).await;
    let after = bound(stage, "a").await;
    assert!(after.len() == 1 && after != before, "{before:?}, then {after:?}");
    assert_eq!(bound(stage, "b").await, after);
    wait::until("the other node publishes again", async || {
        send(other, "after", ["b"]).await;
        listener.order().contains(&"after".to_owned()).then_some(())
    })
    .await;
    assert_eq!(listener.resynchronised(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_bound_again_after_the_connection_was_closed() {
    let stage = Stage::rabbitmq().await;
    let [node, other] = stage.pair();
    mended(&stage, [&node, &other], false, async || {
        wait::until("the connections of both nodes are listed", async || {
            (connections::names(stage.host()).await.len() >= 3).then_some(())
        })
        .await;
        connections::close_all(stage.host()).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_bound_again_after_the_exchange_was_deleted_and_declared_again() {
    let stage = Stage::rabbitmq().await;
    let [node, other] = stage.pair();
    mended(&stage, [&node, &other], true, async || {
        let (_connection, channel) = stage.plain().await;
        let exchange = stage.layout.keys(&bus()).into();
        channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await.unwrap();
        stage.redeclare().await;
        assert_eq!(bound(&stage, "a").await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_bound_again_after_the_wire_was_cut() {
    let stage = Stage::rabbitmq().await;
    let [_, other] = stage.pair();
    let proxy = Proxy::before(port_of(&stage.host().amqp)).await;
    let node: Arc<dyn EventBus> = Arc::new(stage.bus_at("n3", &proxy.through(&stage.host().amqp)));
    let through = Arc::clone(&node);
    mended(&stage, [&node, &other], false, async || {
        proxy.set(Wire::Cut);
        wait::until("the loss is noticed", async || through.notifications(&bus()).err()).await;
        // Who comes meanwhile is served as well.
        let (late, cut) = (Calls::follower(Mode::Async), Duration::from_millis(200));
        let listener: Arc<dyn KeyListener> = Arc::clone(&late) as _;
        let registration = through.register(&plain(&bus()), keys(["late"]), listener);
        let early = tokio::time::timeout(cut, registration.established()).await;
        assert!(early.is_err(), "nothing is established while the wire is cut");
        proxy.set(Wire::Up);
        established(&registration).await;
        assert_eq!(late.resynchronised(), 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn followers_that_come_and_go_at_once_leave_what_is_followed_bound() {
    let stage = Stage::rabbitmq().await;
    let [node, other] = stage.pair();
    let kept = Calls::follower(Mode::Async);
    let churn = (0..20).map(async |number: usize| {
        for _ in 0..20 {
            let listener: Arc<dyn KeyListener> = Calls::follower(Mode::Async);
            let key = ["a", "b"][number % 2];
            drop(node.register(&plain(&bus()), keys([key]), listener));
            tokio::task::yield_now().await;
        }
    });
    let (_kept, _) =
        tokio::join!(follow(&node, ["a"], &kept), futures_util::future::join_all(churn));
    assert_eq!(bound(&stage, "a").await.len(), 1);
    send(&other, "1", ["a"]).await;
    assert_eq!(kept.called(1).await, ["1"]);
    wait::within(Duration::from_mins(1), "keys without followers are unbound", async || {
        bound(&stage, "b").await.is_empty().then_some(())
    })
    .await;
    assert_eq!(bound(&stage, "a").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_very_many_keys_binds_the_one_that_all_notifications_have() {
    let stage = Stage::rabbitmq().await;
    let [node, other] = stage.pair();
    let listener = Calls::follower(Mode::Async);
    let many = (0..20_001).map(|n| RegistrationKey::parse(format!("k{n}")).unwrap()).collect();
    let following: Arc<dyn KeyListener> = Arc::clone(&listener) as _;
    let registration = node.register(&plain(&bus()), many, following);
    established(&registration).await;
    assert_eq!(bound(&stage, "hearken:every").await.len(), 1);
    assert_eq!(bound(&stage, "k7").await, Vec::<String>::new());
    let late = Calls::follower(Mode::Async);
    let _late = follow(&node, ["late"], &late).await;
    send(&other, "1", ["unfollowed"]).await;
    send(&other, "2", ["k7", "k20000", "late", "unfollowed"]).await;
    assert_eq!(
        (listener.called(1).await, late.called(1).await),
        (vec!["2".into()], vec!["2".into()])
    );
    assert_eq!(listener.keys(), [keys(["k7", "k20000"])]);
}
