//! Removal of old records.

use super::{
    Bench,
    dead_letters::purge,
    shared::{beat, node, pass},
};
use hearken::{
    clock::Clock,
    domain::{
        dead_letter::DISPATCH_FAILURE,
        retention::{HistoryLimit, Retention},
        span::Span,
    },
    metrics::Metrics,
    retention::Sweeper,
    store::{LeaseName, dead_letters::DeadLetterFilter},
};
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

const DAY: Span = Span::from_secs(86_400);

/// An SQL expression of a time so many seconds ago.
fn ago(seconds: u32) -> String {
    format!("((SELECT now FROM clock) - {seconds}000000)")
}

/// Keeps so many dead letters of a group by hand, which failed so many seconds ago.
async fn letters(bench: &Bench, group: &str, count: u32, seconds: u32) {
    let (id, keys, body) = if bench.is_postgres() {
        ("gen_random_uuid()", "'[]'::jsonb", "decode('7b7d', 'hex')")
    } else {
        ("randomblob(16)", "'[]'", "x'7b7d'")
    };
    let at = ago(seconds);
    let sql = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) \
         INSERT INTO dead_letter (id, bus, group_name, body, keys, cause, attempts, first_failed_at, last_failed_at, node) \
         SELECT {id}, 'mailboxEvent', '{group}', {body}, {keys}, 'broken', 1, {at}, {at}, 'n1' FROM n"
    );
    bench.by_hand(&sql).await.unwrap();
}

/// Inserts ended tasks, ids of commands and passes of an age by hand.
async fn records(bench: &Bench, count: u32, seconds: u32) {
    let id = if bench.is_postgres() { "gen_random_uuid()" } else { "randomblob(16)" };
    let (bytes, at) = (if bench.is_postgres() { "'\\x00'::bytea" } else { "x'00'" }, ago(seconds));
    let json = if bench.is_postgres() { "'{}'::jsonb" } else { "'{}'" };
    let n = format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count})"
    );
    for sql in [
        format!(
            "{n} INSERT INTO task (id, kind, state, actor, submitted_from, node, submitted_at, ended_at, information) \
             SELECT {id}, 'k', 'completed', 'a', 'h', 'n1', {at}, {at}, {json} FROM n"
        ),
        format!(
            "{n} INSERT INTO roster_command (command_id, fingerprint, recorded_at) SELECT {id}, {bytes}, {at} FROM n"
        ),
        format!("{n} INSERT INTO pass (record, recorded_at) SELECT {json}, {at} FROM n"),
    ] {
        bench.by_hand(&sql).await.unwrap();
    }
}

fn sweeper(bench: &Bench, retention: Retention) -> Sweeper {
    let clock = Clock::system();
    let metrics = Arc::new(Metrics::new(clock.clone()));
    let node = "n1".to_owned();
    let retention = Box::new(move || retention);
    Sweeper { store: bench.store.clone(), node, retention, metrics, clock }
}

fn limits(age: Span, count: u64) -> Retention {
    let limit = HistoryLimit { age, count };
    Retention {
        dead_letters: age,
        tasks: limit,
        commands: limit,
        passes: limit,
        ..Retention::default()
    }
}

async fn sweep(bench: &Bench, retention: Retention) -> u64 {
    let swept = sweeper(bench, retention).turn(Duration::ZERO).await.unwrap();
    swept.expect("no node sweeps, and the turn is due")
}

pub(crate) async fn records_beyond_their_age_go_and_the_others_stay(bench: Bench) {
    let two_days = 2 * 86_400;
    letters(&bench, "a", 2_500, two_days).await;
    letters(&bench, "a", 3, 60).await;
    letters(&bench, DISPATCH_FAILURE, 4, two_days).await;
    records(&bench, 1_200, two_days).await;
    records(&bench, 2, 60).await;
    beat(&bench.store, &node("n1"), Uuid::new_v4()).await.unwrap();
    beat(&bench.store, &node("n2"), Uuid::new_v4()).await.unwrap();
    let silent = format!("UPDATE node SET last_seen = {} WHERE id = 'n2'", ago(two_days));
    bench.by_hand(&silent).await.unwrap();
    assert_eq!(sweep(&bench, limits(DAY, 1_000_000)).await, 2_500 + 3 * 1_200 + 1);
    assert_eq!(sweep(&bench, limits(DAY, 1_000_000)).await, 0);
    let counts = bench.store.dead_letter_counts().await.unwrap();
    let left: Vec<_> = counts.iter().map(|entry| (entry.group.as_str(), entry.count)).collect();
    assert_eq!(left, [("a", 3), (DISPATCH_FAILURE, 4)]);
    assert_eq!(bench.store.nodes().await.unwrap().len(), 1);
    assert_eq!(bench.store.last_task().await.unwrap(), 1_202);
}

pub(crate) async fn the_oldest_records_beyond_their_number_go(bench: Bench) {
    records(&bench, 2_300, 60).await;
    let lease = bench.store.take(LeaseName::Passes, "n1").await.unwrap();
    let mut newest = pass(9);
    lease.record_pass(&mut newest).await.unwrap();
    let newest = newest.id;
    bench.by_hand("UPDATE task SET ended_at = NULL WHERE seq = 1").await.unwrap();
    let swept = sweep(&bench, limits(DAY, 10)).await;
    // The unfinished task stays. Commands of one moment go together.
    assert!(swept >= 2_289 + 2_290 + 2_291, "{swept}");
    let kept = bench.store.last_task().await.unwrap();
    assert_eq!(kept, 2_300, "the newest stay");
    bench.by_hand(&format!("DELETE FROM pass WHERE id < {newest}")).await.unwrap();
    assert_eq!(bench.store.passes(0, 10).await.unwrap()[0].id, newest);
}

pub(crate) async fn two_nodes_sweep_once(bench: Bench) {
    letters(&bench, "a", 10, 2 * 86_400).await;
    let hour = Duration::from_hours(1);
    let (one, two) = (sweeper(&bench, limits(DAY, 10)), sweeper(&bench, limits(DAY, 10)));
    let (first, second) = tokio::join!(one.turn(hour), two.turn(hour));
    let mut swept = [first.unwrap(), second.unwrap()];
    swept.sort_unstable();
    assert_eq!(swept, [None, Some(10)]);
    assert_eq!(one.turn(hour).await.unwrap(), None, "the next turn comes an hour later");
}

pub(crate) async fn a_purge_of_many_entries_takes_small_statements_alone(bench: Bench) {
    let many = if bench.is_postgres() { 200_000 } else { 20_000 };
    letters(&bench, "a", many, 60).await;
    letters(&bench, "b", 5, 60).await;
    if bench.is_postgres() {
        // As a server with a short statement_timeout would: a statement of many rows fails.
        let guard = "CREATE FUNCTION refuse_large() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
                IF (SELECT count(*) FROM gone) > 1000 THEN RAISE EXCEPTION 'too large'; END IF; \
                RETURN NULL; END $$; \
            CREATE TRIGGER refuse_large AFTER DELETE ON dead_letter REFERENCING OLD TABLE AS gone \
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_large()";
        bench.by_hand(guard).await.unwrap();
    }
    let filter = DeadLetterFilter { group: Some(super::group("a")), ..DeadLetterFilter::default() };
    assert_eq!(purge(&bench, &filter).await, u64::from(many));
    let counts = bench.store.dead_letter_counts().await.unwrap();
    assert_eq!(counts.iter().map(|entry| entry.count).collect::<Vec<_>>(), [5]);
}
