//! Dispatch failures that are published again.

use crate::support::{
    proxy::{Proxy, Wire, port_of},
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        letters::letter,
        specs::{bus, event, listener},
    },
    wait,
};
use hearken::{
    bus::codec::encode_cloudevent,
    domain::{
        dead_letter::{DISPATCH_FAILURE, DeadLetter},
        listener::ListenerSpec,
        name::BusName,
        report::{TopologyState, TopologyStatus},
    },
    store::LeaseName,
};
use sqlx::Connection as _;
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// Keeps an event of a bus as a dispatch failure.
async fn keep(stage: &Stage, bus: &BusName, id: &str, body: &[u8]) -> Uuid {
    let (bus, event_id) = (bus.clone(), Some(id.to_owned()));
    let letter = DeadLetter { bus, event_id, ..letter(DISPATCH_FAILURE) };
    stage.keep(&letter, body).await;
    letter.id
}

#[tokio::test]
async fn what_another_node_kept_is_published_in_order_past_what_never_can_be() {
    let listener = ListenerSpec { concurrency: 1, ..listener("a") };
    let stage = Stage::embedded().await;
    stage.enroll([&listener]).await;
    let node = stage.node("solo");
    stage.converge().await;
    let strange =
        keep(&stage, &"of-no-one".parse().unwrap(), "x", &encode_cloudevent(&event("x"))).await;
    let broken = keep(&stage, &bus(), "y", b"?").await;
    let mut expected = Vec::new();
    // More than one window, with what cannot be read in between.
    for n in 0..230 {
        let id = format!("e{n}");
        keep(&stage, &bus(), &id, &encode_cloudevent(&event(&id))).await;
        expected.push(id);
    }
    let torn = keep(&stage, &bus(), "z", b"{}").await;
    let calls = Calls::well();
    let _running = node.redispatch();
    let left = stage.letters_are(3).await;
    assert_eq!(left.iter().map(|letter| letter.id).collect::<Vec<_>>(), [strange, broken, torn]);
    let consumer = stage.consume(&*node.bus, &listener, &calls).await;
    wait::until("all have run", async || (calls.seen().len() >= 230).then_some(())).await;
    consumer.stop.stop(PATIENCE).await;
    let order: Vec<_> = calls.attempts().into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, expected);
}

#[tokio::test]
async fn an_event_that_fails_again_keeps_its_place_before_those_after_it() {
    let listener = ListenerSpec { concurrency: 1, ..listener("a") };
    let stage = Stage::embedded().await;
    stage.enroll([&listener]).await;
    let node = stage.node("solo");
    for id in ["1", "2"] {
        node.try_dispatch_all(&[event(id)]).await.unwrap();
    }
    let _running = node.redispatch();
    // Kept while it tries in vain.
    for id in ["3", "4"] {
        node.try_dispatch_all(&[event(id)]).await.unwrap();
    }
    stage.letters_are(4).await;
    stage.converge().await;
    let converged = TopologyStatus { state: TopologyState::Converged, ..TopologyStatus::default() };
    let lease = stage.store.take(LeaseName::Passes, "n1").await.unwrap();
    lease.save_topology_status(&converged).await.unwrap();
    lease.release().await;
    stage.letters_are(0).await;
    let calls = Calls::well();
    let consumer = stage.consume(&*node.bus, &listener, &calls).await;
    calls.reach(&[("1", 0), ("2", 0), ("3", 0), ("4", 0)]).await;
    let order: Vec<_> = calls.attempts().into_iter().map(|(id, _)| id).collect();
    assert_eq!(order, ["1", "2", "3", "4"]);
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn nothing_is_published_again_while_another_node_does_it() {
    let listener = listener("a");
    let stage = Stage::embedded().await;
    stage.enroll([&listener]).await;
    let node = stage.node("solo");
    stage.converge().await;
    keep(&stage, &bus(), "1", &encode_cloudevent(&event("1"))).await;
    let held =
        stage.store.try_take(LeaseName::Redispatch, "n2").await.unwrap().expect("no node holds it");
    let _running = node.redispatch();
    // Well beyond its first try.
    let began = Instant::now();
    wait::until("it had time enough", async || {
        let counts = stage.store.dead_letter_counts().await.unwrap();
        assert_eq!(counts.first().map(|counted| counted.count), Some(1));
        (began.elapsed() > Duration::from_secs(2)).then_some(())
    })
    .await;
    held.release().await;
    stage.letters_are(0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_publish_what_was_kept_once() {
    const EVENTS: usize = 300;
    let listener = listener("a");
    let stage = Stage::cluster().await.with([&listener]).await;
    let wire = Proxy::before(port_of(&stage.host().amqp)).await;
    let amqp = wire.through(&stage.host().amqp);
    let one = stage.member_at("n1", &amqp, stage.database()).await;
    let other = stage.member_at("n2", &amqp, stage.database()).await;
    wire.set(Wire::Cut);
    for half in [&one, &other] {
        let batch: Vec<_> = (0..EVENTS / 2).map(|_| event(&Uuid::new_v4().to_string())).collect();
        half.try_dispatch_all(&batch).await.unwrap();
    }
    stage.letters_are(EVENTS).await;
    let _running = [one.redispatch(), other.redispatch()];
    wire.set(Wire::Up);
    stage.letters_are(0).await;
    let calls = Calls::well();
    let consumer = stage.consume(&*stage.member("n3").await.bus, &listener, &calls).await;
    wait::until("all have run", async || (calls.seen().len() >= EVENTS).then_some(())).await;
    consumer.stop.stop(PATIENCE).await;
    let mut times = BTreeMap::new();
    for (id, _) in calls.attempts() {
        *times.entry(id).or_insert(0) += 1;
    }
    assert!(times.len() == EVENTS && times.values().all(|times| *times == 1), "{times:?}");
}

/// Lets the database refuse to remove dead letters, or allows it again.
async fn removable(database: &str, removable: bool) {
    let mut session = sqlx::PgConnection::connect(database).await.unwrap();
    let refusing = [
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'not now' USING ERRCODE = '57014'; END $$",
        "CREATE TRIGGER refused BEFORE DELETE ON dead_letter EXECUTE FUNCTION refuse()",
    ];
    let allowing = ["DROP TRIGGER refused ON dead_letter", "DROP FUNCTION refuse()"];
    for sql in if removable { allowing } else { refusing } {
        sqlx::query(sql).execute(&mut session).await.unwrap();
    }
}

#[tokio::test]
async fn an_event_whose_entry_is_removed_only_later_is_published_once() {
    let listener = listener("a");
    let stage = Stage::cluster().await.with([&listener]).await;
    let node = stage.member("n1").await;
    keep(&stage, &bus(), "1", &encode_cloudevent(&event("1"))).await;
    removable(stage.database(), false).await;
    let calls = Calls::well();
    let consumer = stage.consume(&*node.bus, &listener, &calls).await;
    let _running = node.redispatch();
    calls.reach(&[("1", 0)]).await;
    // Well beyond its next tries, which come after one second and after two more.
    let began = Instant::now();
    wait::until("it had time enough", async || {
        assert_eq!(calls.seen().len(), 1);
        (began.elapsed() > Duration::from_secs(4)).then_some(())
    })
    .await;
    stage.letters_are(1).await;
    removable(stage.database(), true).await;
    stage.letters_are(0).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(calls.seen().len(), 1);
}
