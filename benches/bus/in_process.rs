//! Within the process, against SQLite alone with the same durability: an event and its delivery in
//! one transaction, and another that ends the delivery.

use crate::{
    ROUNDS, WINDOW,
    ours::{Counting, bus, consume, converge, event, listeners, outgoing, stop},
    rate,
};
use futures_util::{StreamExt, stream};
use hearken::{
    broker::local::LocalBroker,
    bus::{
        EventBus,
        codec::encode_cloudevent,
        local::{LocalBus, LocalBusConfig},
    },
    clock::Clock,
    domain::layout::{Flavor, Layout},
    store::Store,
    store::embedded::Occupancy,
};
use sqlx::{
    Connection as _, SqliteConnection,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous},
};
use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

const EVENTS: usize = 1_000;

/// From the first publish until every event is handled.
pub(crate) async fn throughput() {
    for groups in [1, 10] {
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        let events = EVENTS / groups;
        for _ in 0..ROUNDS {
            ours.push(hearken(groups, events).await);
            theirs.push(sqlite(groups, events).await);
        }
        let what = format!("in process: executions, {groups} groups, events of 0.5 KiB");
        rate(&what, events * groups, ours, theirs);
    }
}

async fn hearken(groups: usize, events: usize) -> Duration {
    let directory = tempfile::tempdir().expect("a directory");
    let store = Store::sqlite(directory.path()).await.expect("a store");
    let layout = Layout {
        prefix: "hearken".into(),
        cluster: store.cluster_id(),
        flavor: Flavor::Local,
        ..Layout::default()
    };
    let occupancy = Occupancy::default();
    let embedded = store.embedded().expect("an embedded store");
    let broker = LocalBroker::new(embedded.clone(), layout.clone(), occupancy.clone());
    let listeners = listeners(groups);
    converge(&broker, &layout, &listeners).await;
    let node = LocalBus::new(LocalBusConfig {
        store: embedded,
        layout: layout.clone(),
        occupancy,
        node: "bench".into(),
        metrics: Arc::default(),
        clock: Clock::system(),
    });
    let handler = Counting::new(|_| false);
    let consumers = consume(&node, &layout, &listeners, &handler).await;
    let began = Instant::now();
    let publishing = stream::iter(0..events).for_each_concurrent(WINDOW, async |number| {
        node.publish(&bus(), &outgoing(number, 512)).await.expect("published");
    });
    tokio::join!(publishing, handler.reach(events * groups));
    let took = began.elapsed();
    stop(consumers).await;
    store.close().await;
    took
}

async fn sqlite(groups: usize, events: usize) -> Duration {
    let directory = tempfile::tempdir().expect("a directory");
    let mut database = open(&directory.path().join("raw.db")).await;
    let bodies: Vec<_> = (0..events).map(|n| encode_cloudevent(&event(n, 512))).collect();
    let began = Instant::now();
    for body in &bodies {
        let mut tx = database.begin().await.expect("begun");
        let stored = sqlx::query("INSERT INTO body (body) VALUES ($1)").bind(body);
        let id = stored.execute(&mut *tx).await.expect("stored").last_insert_rowid();
        for _ in 0..groups {
            let stored = sqlx::query("INSERT INTO delivery (body) VALUES ($1)").bind(id);
            stored.execute(&mut *tx).await.expect("stored");
        }
        tx.commit().await.expect("committed");
        for _ in 0..groups {
            let next = "DELETE FROM delivery WHERE id = (SELECT MIN(id) FROM delivery)";
            sqlx::query(next).execute(&mut database).await.expect("deleted");
        }
        sqlx::query("DELETE FROM body WHERE id = $1")
            .bind(id)
            .execute(&mut database)
            .await
            .expect("deleted");
    }
    began.elapsed()
}

async fn open(path: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let mut database = SqliteConnection::connect_with(&options).await.expect("opened");
    for table in [
        "CREATE TABLE body (id INTEGER PRIMARY KEY, body BLOB NOT NULL)",
        "CREATE TABLE delivery (id INTEGER PRIMARY KEY, body INTEGER NOT NULL)",
    ] {
        sqlx::query(table).execute(&mut database).await.expect("created");
    }
    database
}
