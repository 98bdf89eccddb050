//! What a process that ends leaves to the next.

use super::scene::{Calls, LONG, Node, listener};
use crate::support::wait;
use hearken::{
    bus::Failure,
    domain::{listener::ListenerSpec, span::Span},
    store::Store,
};
use std::time::Duration;

#[tokio::test]
async fn what_was_accepted_is_delivered_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    node.dispatch("1").await;
    node.dispatch("2").await;
    node.close().await;
    let node = Node::open(folder.path()).await;
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0), ("2", 0)]).await;
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[test]
fn a_process_that_dies_with_an_event_in_hand_runs_it_again() {
    let folder = tempfile::tempdir().unwrap();
    let listener = listener("a");
    let first = tokio::runtime::Runtime::new().unwrap();
    let stuck = Calls::doing(|_, _| std::future::pending());
    let (dying, _consumer) = first.block_on(async {
        let node = Node::open(folder.path()).await;
        node.declare(&listener).await;
        node.dispatch("1").await;
        let consumer = node.consume(&listener, &stuck);
        stuck.are(&[("1", 0)]).await;
        (node, consumer)
    });
    // As a kill does it: no task ends by itself.
    first.shutdown_background();
    drop(dying);
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        let node = wait::until("the directory is free", || async {
            let free = Store::sqlite(folder.path()).await.ok()?;
            free.close().await;
            Some(Node::open(folder.path()).await)
        })
        .await;
        let calls = Calls::succeeding();
        let consumer = node.consume(&listener, &calls);
        calls.are(&[("1", 0)]).await;
        node.is_left_with(&listener, 0, 0).await;
        consumer.stop.stop(LONG).await;
    });
}

#[tokio::test]
async fn failures_before_a_restart_count_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut listener = listener("a");
    listener.retry.attempts = 2;
    let node = Node::open(folder.path()).await;
    node.declare(&listener).await;
    let busy = Calls::doing(|_, _| async {
        Err(Failure::RetryAfter { cause: "busy".into(), pause: Duration::from_secs(2) })
    });
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &busy);
    busy.are(&[("1", 0)]).await;
    node.is_left_with(&listener, 1, 0).await;
    consumer.stop.stop(LONG).await;
    node.close().await;
    let node = Node::open(folder.path()).await;
    let calls = Calls::doing(|_, execution| async move {
        assert!(execution.first_failed_at.is_some());
        Err(Failure::new("no"))
    });
    let consumer = node.consume(&listener, &calls);
    let letter = &node.letters(1).await[0];
    calls.are(&[("1", 1), ("1", 2)]).await;
    assert_eq!((letter.attempts, letter.cause.as_str()), (3, "no"));
    assert!(letter.last_failed_at - letter.first_failed_at > Duration::from_secs(1));
    consumer.stop.stop(LONG).await;
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
            ..listener("a").retry
        },
        ..listener("a")
    };
    let first = tokio::runtime::Runtime::new().unwrap();
    let failing = Calls::doing(|_, _| async { Err(Failure::new("no")) });
    let (dying, _consumer) = first.block_on(async {
        let node = Node::open(folder.path()).await;
        node.declare(&listener).await;
        for n in 0..EVENTS {
            node.dispatch(&n.to_string()).await;
        }
        let consumer = node.consume(&listener, &failing);
        wait::until("some were given up", async || {
            let counts = node.store.dead_letter_counts().await.unwrap();
            counts.first().filter(|counted| counted.count > 5).map(drop)
        })
        .await;
        (node, consumer)
    });
    first.shutdown_background();
    drop(dying);
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        let node = wait::until("the directory is free", || async {
            let free = Store::sqlite(folder.path()).await.ok()?;
            free.close().await;
            Some(Node::open(folder.path()).await)
        })
        .await;
        let consumer = node.consume(&listener, &failing);
        let letters = node.letters(EVENTS).await;
        let mut ids: Vec<_> = letters.iter().filter_map(|letter| letter.event_id.clone()).collect();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), EVENTS);
        node.is_left_with(&listener, 0, 0).await;
        consumer.stop.stop(LONG).await;
    });
}
