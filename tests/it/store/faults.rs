//! What PostgreSQL can do to a store.

use super::{Bench, audit, event, group, history};
use crate::support::wait;
use hearken::store::{AppendError, Store};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use uuid::Uuid;

const KILL: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() \
     AND application_name = 'hearken' AND pid <> pg_backend_pid() ORDER BY random() LIMIT 3";

/// Appends one command until its outcome is sure, the way a command handler does.
async fn insist(store: &Store, name: &str) {
    let audit = audit(Uuid::new_v4());
    wait::until("the append is settled", async || {
        let Ok(expected) = store.head().await else { return None };
        match store.append(expected, &[event(name)], &audit, Some(&[1; 32])).await {
            Ok(_) | Err(AppendError::Replayed(_)) => Some(()),
            Err(AppendError::Conflict) => None,
            Err(AppendError::Store(error)) if error.is_unavailable() => None,
            Err(error) => panic!("a lost session must not look like this: {error:?}"),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sessions_killed_throughout_every_acknowledged_command_is_there_once() {
    let bench = Arc::new(Bench::postgres().await);
    let over = Arc::new(AtomicBool::new(false));
    let killer = tokio::spawn({
        let (bench, over) = (bench.clone(), over.clone());
        async move {
            let mut rounds = 0;
            while !over.load(Ordering::Relaxed) {
                bench.by_hand(KILL).await.unwrap();
                rounds += 1;
                wait::pace(Duration::from_millis(15)).await;
            }
            rounds
        }
    });
    let follower = tokio::spawn(follow_through(bench.store.clone(), 60));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = bench.store.clone();
            tokio::spawn(async move {
                for number in 0..15 {
                    insist(&store, &format!("w{writer}-{number}")).await;
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    let seen = tokio::time::timeout(Duration::from_secs(30), follower).await.unwrap().unwrap();
    over.store(true, Ordering::Relaxed);
    assert!(killer.await.unwrap() > 0);
    let log =
        wait::until("the store answers", async || bench.store.events_after(0, 1000).await.ok())
            .await;
    assert_eq!(seen, log);
    let mut groups: Vec<_> = log.iter().map(|e| e.event.group().unwrap().clone()).collect();
    let mut all: Vec<_> =
        (0..4).flat_map(|w| (0..15).map(move |n| group(&format!("w{w}-{n}")))).collect();
    groups.sort();
    all.sort();
    assert_eq!(groups, all);
}

async fn follow_through(store: Store, until: usize) -> Vec<hearken::domain::event::RecordedEvent> {
    let mut seen: Vec<hearken::domain::event::RecordedEvent> = Vec::new();
    let mut bell = store.doorbell();
    while seen.len() < until {
        let (mine, last) = seen.last().map_or((0, None), |e| (e.version, Some(e.event_id)));
        match store.catch_up(mine, last, 5).await {
            Ok(page) if page.is_empty() => {
                let _ = tokio::time::timeout(Duration::from_millis(200), bell.changed()).await;
            }
            Ok(page) => seen.extend(page),
            Err(error) => assert!(error.is_unavailable(), "{error:?}"),
        }
    }
    seen
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_doorbell_whose_connection_died_rings_when_it_is_back_and_for_other_processes() {
    let bench = Bench::postgres().await;
    let other = Store::postgres(bench.url()).await.unwrap();
    let mut bell = bench.store.doorbell();
    wait::until("the doorbell is heard", async || (*bell.borrow() > 0).then_some(())).await;
    bell.borrow_and_update();
    bench
        .by_hand("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'")
        .await
        .unwrap();
    tokio::time::timeout(Duration::from_secs(10), bell.changed()).await.expect("it rings").unwrap();
    bell.borrow_and_update();
    super::append(&other, 0, "a").await.unwrap();
    tokio::time::timeout(Duration::from_secs(10), bell.changed()).await.expect("it rings").unwrap();
    assert_eq!(history(&bench.store).await.len(), 1);
}

#[tokio::test]
async fn a_store_that_is_dropped_or_closed_leaves_no_session_behind() {
    let bench = Bench::postgres().await;
    let other = Store::postgres(bench.url()).await.unwrap();
    other.ping().await.unwrap();
    drop(other);
    bench.store.close().await;
    let left = "DO $$ BEGIN IF (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
        AND application_name = 'hearken') > 0 THEN RAISE EXCEPTION 'sessions are left'; END IF; END $$";
    wait::until("every session ends", async || bench.by_hand(left).await.ok()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_serializable_by_default_leaks_no_serialization_failure() {
    let bench = Bench::postgres().await;
    let name = bench.url().rsplit_once('/').unwrap().1;
    let sql = format!("ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'");
    bench.by_hand(&sql).await.unwrap();
    let store = Store::postgres(bench.url()).await.unwrap();
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move { super::log::write(&store, writer, 8).await })
        })
        .collect();
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(history(&store).await.len(), 32);
}
