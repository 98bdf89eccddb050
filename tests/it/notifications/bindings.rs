//! The bindings of a node's queue, as the broker lists them.

use super::scene::{established, follow, follower, nodes, send};
use crate::{
    broker::contract::{bus, converge},
    rabbit_bus::scene::Scene,
    support::{
        bus::{keys, over_rabbitmq, plain},
        connections,
        proxy::{Proxy, Wire, port_of},
        wait,
    },
};
use hearken::{
    bus::{EventBus, KeyListener, rabbitmq::RabbitMqBus},
    domain::{listener::Mode, name::RegistrationKey},
};
use lapin::options::ExchangeDeleteOptions;
use reqwest::Method;
use serde_json::Value;
use std::{sync::Arc, time::Duration};

/// The queues that have a key of the keys exchange.
async fn bound(scene: &Scene, key: &str) -> Vec<String> {
    let exchange = scene.layout.keys(&bus());
    let path = format!("exchanges/{}/{exchange}/bindings/source", scene.host.name);
    let listed = scene.host.api(Method::GET, &path, None).await;
    let rows = listed.as_array().into_iter().flatten();
    let rows = rows.filter(|row: &&Value| row["routing_key"] == key);
    rows.filter_map(|row| row["destination"].as_str().map(str::to_owned)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_with_many_followers_is_bound_once_and_unbound_after_the_last_left() {
    let (scene, node, _other) = nodes().await;
    let registrations: Vec<_> = (0..50)
        .map(|_| {
            let listener: Arc<dyn KeyListener> = follower(Mode::Async);
            node.register(&plain(&bus()), keys(["a"]), listener)
        })
        .collect();
    for registration in &registrations {
        established(registration).await;
    }
    let queues = bound(&scene, "a").await;
    assert_eq!(queues.len(), 1, "{queues:?}");
    drop(registrations);
    // A listener that comes back soon finds the key still bound.
    let listener = follower(Mode::Async);
    let back = follow(&node, ["a"], &listener).await;
    assert_eq!(bound(&scene, "a").await, queues);
    send(&node, "1", ["a"]).await;
    assert_eq!(listener.called(1).await, ["1"]);
    drop(back);
    assert_eq!(bound(&scene, "a").await, queues);
    wait::within(Duration::from_mins(1), "the key is unbound", async || {
        bound(&scene, "a").await.is_empty().then_some(())
    })
    .await;
    let _again = follow(&node, ["a"], &listener).await;
    assert_eq!(bound(&scene, "a").await, queues, "by the same queue");
}

/// Breaks something, and waits until a listener was told and hears again.
async fn mended(
    scene: &Scene,
    nodes: [&Arc<dyn EventBus>; 2],
    wakes: bool,
    breaking: impl AsyncFnOnce(),
) {
    let [node, other] = nodes;
    let listener = follower(Mode::Async);
    let registration = follow(node, ["a", "b"], &listener).await;
    send(other, "before", ["a"]).await;
    listener.called(1).await;
    let before = bound(scene, "a").await;
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
    let after = bound(scene, "a").await;
    assert!(after.len() == 1 && after != before, "{before:?}, then {after:?}");
    assert_eq!(bound(scene, "b").await, after);
    wait::until("the other node publishes again", async || {
        send(other, "after", ["b"]).await;
        listener.ids().contains(&"after".to_owned()).then_some(())
    })
    .await;
    assert_eq!(listener.resynchronised(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_bound_again_after_the_connection_was_closed() {
    let (scene, node, other) = nodes().await;
    mended(&scene, [&node, &other], false, async || {
        wait::until("the connections of both nodes are listed", async || {
            (connections::names(&scene.host).await.len() >= 3).then_some(())
        })
        .await;
        connections::close_all(&scene.host).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_bound_again_after_the_exchange_was_deleted_and_made_anew() {
    let (scene, node, other) = nodes().await;
    mended(&scene, [&node, &other], true, async || {
        let (_connection, channel) = scene.plain().await;
        let exchange = scene.layout.keys(&bus()).into();
        channel.exchange_delete(exchange, ExchangeDeleteOptions::default()).await.unwrap();
        converge(&scene.broker, &scene.layout, &[]).await;
        assert_eq!(bound(&scene, "a").await, Vec::<String>::new());
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_key_is_bound_again_after_the_wire_was_cut() {
    let (scene, _, other) = nodes().await;
    let proxy = Proxy::before(port_of(&scene.host.amqp)).await;
    let node: Arc<dyn EventBus> = Arc::new(RabbitMqBus::new(over_rabbitmq(
        &proxy.through(&scene.host.amqp),
        &scene.layout,
        "n3",
        &scene.store,
    )));
    let through = Arc::clone(&node);
    mended(&scene, [&node, &other], false, async || {
        proxy.set(Wire::Cut);
        wait::until("the loss is noticed", async || through.notifications(&bus()).err()).await;
        // Who comes meanwhile is served as well.
        let (late, cut) = (follower(Mode::Async), Duration::from_millis(200));
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
    let (scene, node, other) = nodes().await;
    let kept = follower(Mode::Async);
    let churn = (0..20).map(async |number: usize| {
        for _ in 0..20 {
            let listener: Arc<dyn KeyListener> = follower(Mode::Async);
            let key = ["a", "b"][number % 2];
            drop(node.register(&plain(&bus()), keys([key]), listener));
            tokio::task::yield_now().await;
        }
    });
    let (_kept, _) =
        tokio::join!(follow(&node, ["a"], &kept), futures_util::future::join_all(churn));
    assert_eq!(bound(&scene, "a").await.len(), 1);
    send(&other, "1", ["a"]).await;
    assert_eq!(kept.called(1).await, ["1"]);
    wait::within(Duration::from_mins(1), "keys without followers are unbound", async || {
        bound(&scene, "b").await.is_empty().then_some(())
    })
    .await;
    assert_eq!(bound(&scene, "a").await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_very_many_keys_binds_the_one_that_all_notifications_have() {
    let (scene, node, other) = nodes().await;
    let listener = follower(Mode::Async);
    let many = (0..20_001).map(|n| RegistrationKey::parse(format!("k{n}")).unwrap()).collect();
    let following: Arc<dyn KeyListener> = Arc::clone(&listener) as _;
    let registration = node.register(&plain(&bus()), many, following);
    established(&registration).await;
    assert_eq!(bound(&scene, "hearken:every").await.len(), 1);
    assert_eq!(bound(&scene, "k7").await, Vec::<String>::new());
    let late = follower(Mode::Async);
    let _late = follow(&node, ["late"], &late).await;
    send(&other, "1", ["nobody's"]).await;
    send(&other, "2", ["k7", "k20000", "late", "nobody's"]).await;
    assert_eq!(
        (listener.called(1).await, late.called(1).await),
        (vec!["2".into()], vec!["2".into()])
    );
    assert_eq!(listener.keys(), [keys(["k7", "k20000"])]);
}
