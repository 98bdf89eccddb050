//! What a process leaves to the next process on the same data directory.

use crate::support::{
    stage::{PATIENCE, Stage, calls::Calls, specs::persistent},
    wait,
};
use hearken::{
    bus::Failure,
    domain::{listener::ListenerSpec, span::Span},
    store::Store,
};
use std::time::Duration;

#[tokio::test]
async fn what_was_accepted_is_delivered_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let stage = Stage::embedded_in(folder.path()).await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    stage.dispatch_here("1").await;
    stage.dispatch_here("2").await;
    stage.close().await;
    let stage = Stage::embedded_in(folder.path()).await;
    let calls = Calls::well();
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("1", 0), ("2", 0)]).await;
    stage.settled_with(&listener, 0).await;
    consumer.stop.stop(PATIENCE).await;
}

#[test]
fn an_event_that_ran_when_its_process_died_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = persistent("a");
    let first = tokio::runtime::Runtime::new().unwrap();
    let stuck = Calls::endless();
    let (dying, _consumer) = first.block_on(async {
        let stage = Stage::embedded_in(folder.path()).await;
        stage.add([&listener]).await;
        stage.dispatch_here("1").await;
        let consumer = stage.consume_here(&listener, &stuck).await;
        stuck.reach(&[("1", 0)]).await;
        (stage, consumer)
    });
    // As a kill does it: no task ends by itself.
    first.shutdown_background();
    drop(dying);
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        let stage = wait::until("the directory is free", || async {
            let free = Store::sqlite(folder.path()).await.ok()?;
            free.close().await;
            Some(Stage::embedded_in(folder.path()).await)
        })
        .await;
        let calls = Calls::well();
        let consumer = stage.consume_here(&listener, &calls).await;
        calls.reach(&[("1", 0)]).await;
        stage.settled_with(&listener, 0).await;
        consumer.stop.stop(PATIENCE).await;
    });
}

#[tokio::test]
async fn failures_before_a_restart_count_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut listener = persistent("a");
    listener.retry.attempts = 2;
    let stage = Stage::embedded_in(folder.path()).await;
    stage.add([&listener]).await;
    let pause = Duration::from_secs(2);
    let busy =
        Calls::answering(move |_, _| Err(Failure::RetryAfter { cause: "busy".into(), pause }));
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &busy).await;
    busy.reach(&[("1", 0)]).await;
    stage.settled_with(&listener, 1).await;
    consumer.stop.stop(PATIENCE).await;
    stage.close().await;
    let stage = Stage::embedded_in(folder.path()).await;
    let calls = Calls::answering(|_, _| Err(Failure::new("no")));
    let consumer = stage.consume_here(&listener, &calls).await;
    let letter = &stage.letters_are(1).await[0];
    calls.reach(&[("1", 1), ("1", 2)]).await;
    assert!(calls.seen().iter().all(|call| call.execution().first_failed_at.is_some()));
    assert_eq!((letter.attempts, letter.cause.as_str()), (3, "no"));
    assert!(letter.last_failed_at - letter.first_failed_at > Duration::from_secs(1));
    consumer.stop.stop(PATIENCE).await;
}

#[test]
fn a_process_that_dies_while_events_are_given_up_loses_none_and_keeps_none_twice() {
    const EVENTS: usize = 60;
    let folder = tempfile::tempdir().unwrap();
    let listener = ListenerSpec {
        retry: hearken::domain::retry::Retry {
            attempts: 1,
            first: Span::from_millis(100),
            max: Span::from_millis(100),
            ..persistent("a").retry
        },
        ..persistent("a")
    };
    let first = tokio::runtime::Runtime::new().unwrap();
    let failing = Calls::answering(|_, _| Err(Failure::new("no")));
    let (dying, _consumer) = first.block_on(async {
        let stage = Stage::embedded_in(folder.path()).await;
        stage.add([&listener]).await;
        for n in 0..EVENTS {
            stage.dispatch_here(&n.to_string()).await;
        }
        let consumer = stage.consume_here(&listener, &failing).await;
        wait::until("some were given up", async || {
            let counts = stage.store.dead_letter_counts().await.unwrap();
            counts.first().filter(|counted| counted.count > 5).map(drop)
        })
        .await;
        (stage, consumer)
    });
    first.shutdown_background();
    drop(dying);
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        let stage = wait::until("the directory is free", || async {
            let free = Store::sqlite(folder.path()).await.ok()?;
            free.close().await;
            Some(Stage::embedded_in(folder.path()).await)
        })
        .await;
        let consumer = stage.consume_here(&listener, &failing).await;
        let letters = stage.letters_are(EVENTS).await;
        let mut ids: Vec<_> = letters.iter().filter_map(|letter| letter.event_id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), EVENTS);
        stage.settled_with(&listener, 0).await;
        consumer.stop.stop(PATIENCE).await;
    });
}
