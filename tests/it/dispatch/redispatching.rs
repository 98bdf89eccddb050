//! Publishing again what could not be published.

use super::scene::{Cluster, Node, embedded};
use crate::{
    broker::contract::{bus, listener},
    local_bus::scene::{Calls, LONG, event},
    support::{
        bus::keys,
        proxy::{Proxy, Wire, port_of},
        wait,
    },
};
use hearken::{
    bus::codec::{CLOUDEVENTS_JSON, encode_cloudevent},
    domain::{
        dead_letter::{DISPATCH_FAILURE, DeadLetter},
        name::BusName,
        report::{TopologyState, TopologyStatus},
    },
    store::Lock,
};
use sqlx::Connection as _;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Keeps an event of a bus as one that could not be published.
async fn keep(node: &Node, bus: &BusName, id: &str, body: &[u8]) -> Uuid {
    let now = time::OffsetDateTime::UNIX_EPOCH;
    let letter = DeadLetter {
        id: Uuid::now_v7(),
        bus: bus.clone(),
        group: DISPATCH_FAILURE.parse().unwrap(),
        origin: None,
        event_id: Some(id.to_owned()),
        event_type: None,
        user: None,
        content_type: Some(CLOUDEVENTS_JSON.to_owned()),
        keys: keys([]),
        cause: "RabbitMQ was away".into(),
        attempts: 1,
        first_failed_at: now,
        last_failed_at: now,
        node: "gone".into(),
        previous: None,
    };
    assert!(node.store.keep_dead_letter(&letter, body).await.unwrap());
    letter.id
}

#[tokio::test]
async fn what_another_node_kept_is_published_in_order_past_what_never_can_be() {
    let folder = tempfile::tempdir().unwrap();
    let listener = hearken::domain::listener::ListenerSpec { concurrency: 1, ..listener("a") };
    let (node, half) = embedded(folder.path(), std::slice::from_ref(&listener)).await;
    half.declare(&listener).await;
    let strange =
        keep(&node, &"of-no-one".parse().unwrap(), "x", &encode_cloudevent(&event("x"))).await;
    let broken = keep(&node, &bus(), "y", b"?").await;
    let mut expected = Vec::new();
    // More than one window, with what cannot be read in between.
    for n in 0..230 {
        let id = format!("e{n}");
        keep(&node, &bus(), &id, &encode_cloudevent(&event(&id))).await;
        expected.push(id);
    }
    let torn = keep(&node, &bus(), "z", b"{}").await;
    let calls = Calls::succeeding();
    let _running = node.redispatch();
    let left = node.letters(3).await;
    assert_eq!(left.iter().map(|letter| letter.id).collect::<Vec<_>>(), [strange, broken, torn]);
    let consumer = node.consume(&listener, calls.clone());
    wait::until("all have run", async || (calls.seen().len() >= 230).then_some(())).await;
    consumer.stop.stop(LONG).await;
    let order: Vec<_> = calls.seen().into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, expected);
}

#[tokio::test]
async fn an_event_that_fails_again_keeps_its_place_before_those_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let listener = hearken::domain::listener::ListenerSpec { concurrency: 1, ..listener("a") };
    let (node, half) = embedded(folder.path(), std::slice::from_ref(&listener)).await;
    half.declare_bus().await;
    for id in ["1", "2"] {
        node.dispatch(&[event(id)]).await.unwrap();
    }
    let _running = node.redispatch();
    // Kept while it tries in vain.
    for id in ["3", "4"] {
        node.dispatch(&[event(id)]).await.unwrap();
    }
    node.letters(4).await;
    half.declare(&listener).await;
    let converged = TopologyStatus { state: TopologyState::Converged, ..TopologyStatus::default() };
    node.store.save_topology_status(&converged).await.unwrap();
    node.letters(0).await;
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, calls.clone());
    calls.are(&[("1", 0), ("2", 0), ("3", 0), ("4", 0)]).await;
    let order: Vec<_> = calls.seen().into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, ["1", "2", "3", "4"]);
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn nothing_is_published_again_while_another_node_does_it() {
    let folder = tempfile::tempdir().unwrap();
    let listener = listener("a");
    let (node, half) = embedded(folder.path(), std::slice::from_ref(&listener)).await;
    half.declare(&listener).await;
    keep(&node, &bus(), "1", &encode_cloudevent(&event("1"))).await;
    let held = node.store.try_lock(Lock::Redispatch).await.unwrap().expect("no node holds it");
    let _running = node.redispatch();
    // Well beyond its first try.
    let began = Instant::now();
    wait::until("it had time enough", async || {
        let counts = node.store.dead_letter_counts().await.unwrap();
        assert_eq!(counts.first().map(|counted| counted.count), Some(1));
        (began.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .await;
    held.release().await;
    node.letters(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_publish_what_was_kept_once() {
    const EVENTS: usize = 300;
    let listener = listener("a");
    let cluster = Cluster::of(std::slice::from_ref(&listener)).await;
    let wire = Proxy::before(port_of(&cluster.host.amqp)).await;
    let amqp = wire.through(&cluster.host.amqp);
    let one = cluster.node_at("n1", &amqp, &cluster.database).await;
    let other = cluster.node_at("n2", &amqp, &cluster.database).await;
    wire.set(Wire::Cut);
    for half in [&one, &other] {
        let batch: Vec<_> = (0..EVENTS / 2).map(|_| event(&Uuid::new_v4().to_string())).collect();
        half.dispatch(&batch).await.unwrap();
    }
    one.letters(EVENTS).await;
    let _running = [one.redispatch(), other.redispatch()];
    wire.set(Wire::Up);
    one.letters(0).await;
    let calls = Calls::succeeding();
    let consumer = cluster.node("n3").await.consume(&listener, calls.clone());
    wait::until("all have run", async || (calls.seen().len() >= EVENTS).then_some(())).await;
    consumer.stop.stop(LONG).await;
    let mut times = BTreeMap::new();
    for (id, _) in calls.seen() {
        *times.entry(id).or_insert(0) += 1;
    }
    assert!(times.len() == EVENTS && times.values().all(|times| *times == 1), "{times:?}");
}

/// Lets sessions of a database write or not, from the next one on, and ends those that there are.
async fn writable(database: &str, writable: bool) {
    let mut session = sqlx::PgConnection::connect(database).await.unwrap();
    let name = database.rsplit('/').next().unwrap();
    let setting = if writable { "off" } else { "on" };
    // Read-only sessions may still say of themselves that they are not.
    for sql in [
        "SET default_transaction_read_only = off".to_owned(),
        format!("ALTER DATABASE {name} SET default_transaction_read_only = {setting}"),
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()"
            .to_owned(),
    ] {
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&mut session).await.unwrap();
    }
}

#[tokio::test]
async fn an_event_whose_entry_is_removed_only_later_is_published_once() {
    let listener = listener("a");
    let cluster = Cluster::of(std::slice::from_ref(&listener)).await;
    let node = cluster.node("n1").await;
    keep(&node, &bus(), "1", &encode_cloudevent(&event("1"))).await;
    writable(&cluster.database, false).await;
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, calls.clone());
    let _running = node.redispatch();
    calls.are(&[("1", 0)]).await;
    // Well beyond its next tries, which come after one second and after two more.
    let began = Instant::now();
    wait::until("it had time enough", async || {
        assert_eq!(calls.seen().len(), 1);
        (began.elapsed() > Duration::from_secs(4)).then_some(())
    })
    .await;
    node.letters(1).await;
    writable(&cluster.database, true).await;
    node.letters(0).await;
    consumer.stop.stop(LONG).await;
    assert_eq!(calls.seen().len(), 1);
}
