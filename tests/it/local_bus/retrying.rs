//! Events that fail and are tried again.

use super::scene::{Calls, LONG, Node, listener};
use crate::support::wait;
use hearken::{bus::Failure, domain::listener::ListenerSpec};
use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::Notify;

#[tokio::test]
async fn a_failing_event_is_tried_again_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = ListenerSpec { concurrency: 1, ..listener("a") };
    node.declare(&listener).await;
    let calls = Calls::doing(|event, execution| async move {
        match (event.id.as_str(), execution.attempt) {
            ("bad", 0..=2) => Err(Failure::new("not yet")),
            ("panic", 0) => panic!("at the disco"),
            _ => Ok(()),
        }
    });
    for id in ["bad", "panic", "good"] {
        node.dispatch(id).await;
    }
    let consumer = node.consume(&listener, &calls);
    let all =
        [("bad", 0), ("panic", 0), ("good", 0), ("bad", 1), ("panic", 1), ("bad", 2), ("bad", 3)];
    calls.are(&all).await;
    let order = calls.seen();
    let position = |call: (&str, u32)| order.iter().position(|(id, n)| (id.as_str(), *n) == call);
    assert!(position(("good", 0)) < position(("bad", 1)));
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_retry_is_on_time_while_another_event_is_in_hand() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let calls = Calls::doing(move |event, execution| {
        let hold = hold.clone();
        async move {
            match (event.id.as_str(), execution.attempt) {
                ("slow", _) => hold.notified().await,
                ("bad", 0..=1) => return Err(Failure::new("not yet")),
                _ => {}
            }
            Ok(())
        }
    });
    node.dispatch("slow").await;
    node.dispatch("bad").await;
    let started = std::time::Instant::now();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("slow", 0), ("bad", 0), ("bad", 1), ("bad", 2)]).await;
    // 100 ms and 200 ms; the poll alone would take ten seconds.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    release.notify_one();
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_listener_that_takes_too_long_has_failed() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = ListenerSpec { timeout: "100ms".parse().unwrap(), ..listener("a") };
    node.declare(&listener).await;
    let calls = Calls::doing(|_, execution| async move {
        if execution.attempt == 0 {
            std::future::pending::<()>().await;
        }
        Ok(())
    });
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0), ("1", 1)]).await;
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_failure_that_asks_for_a_longer_pause_gets_it() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let calls = Calls::doing(|_, _| async {
        Err(Failure::RetryAfter { cause: "busy".to_owned(), pause: Duration::from_hours(1) })
    });
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0)]).await;
    node.is_left_with(&listener, 1, 0).await;
    let pause = node.embedded.next_due(&node.queue(&listener)).await.unwrap().unwrap();
    assert!(pause > Duration::from_mins(59), "{pause:?}");
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_listener_knows_since_when_the_event_fails_and_until_when_it_may_run() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let keep = told.clone();
    let calls = Calls::doing(move |_, execution| {
        let left = execution.deadline - Instant::now();
        assert!(left > Duration::from_secs(590) && left <= Duration::from_mins(10), "{left:?}");
        keep.lock().unwrap().push(execution.first_failed_at);
        async move { if execution.attempt < 2 { Err(Failure::new("no")) } else { Ok(()) } }
    });
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0), ("1", 1), ("1", 2)]).await;
    node.is_left_with(&listener, 0, 0).await;
    let told = told.lock().unwrap().clone();
    assert!(told[0].is_none() && told[1].is_some() && told[1] == told[2], "{told:?}");
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn an_execution_that_takes_too_long_or_is_not_waited_for_is_cancelled() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let mut listener = ListenerSpec { timeout: "200ms".parse().unwrap(), ..listener("a") };
    listener.retry.attempts = 0;
    let patient = ListenerSpec {
        group: "b".parse().unwrap(),
        timeout: "10m".parse().unwrap(),
        ..listener.clone()
    };
    node.declare(&listener).await;
    node.declare(&patient).await;
    let tokens = Arc::new(Mutex::new(Vec::new()));
    let keep = tokens.clone();
    let calls = Calls::doing(move |_, execution| {
        keep.lock().unwrap().push((execution.group, execution.cancelled));
        std::future::pending()
    });
    node.dispatch("1").await;
    let consumers = [node.consume(&listener, &calls), node.consume(&patient, &calls)];
    let cancelled = |group: &str| {
        let tokens = tokens.lock().unwrap();
        tokens.iter().any(|(of, token)| of.as_str() == group && token.is_cancelled())
    };
    calls.are(&[("1", 0), ("1", 0)]).await;
    assert_eq!(node.letters(1).await[0].group, listener.group);
    assert!(cancelled("a") && !cancelled("b"));
    for consumer in consumers {
        consumer.stop.stop(Duration::from_millis(50)).await;
    }
    assert!(cancelled("b"));
}

#[tokio::test]
async fn the_age_of_the_oldest_waiting_event_always_counts_from_its_publication() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let queue = node.queue(&listener);
    assert_eq!(node.embedded.oldest(&queue).await.unwrap(), None);
    node.dispatch("1").await;
    let calls = Calls::doing(|_, _| async {
        Err(Failure::RetryAfter { cause: "busy".to_owned(), pause: Duration::from_hours(1) })
    });
    let consumer = node.consume(&listener, &calls);
    node.is_left_with(&listener, 1, 0).await;
    calls.are(&[("1", 0)]).await;
    let age = wait::until("it gets older", async || {
        let age = node.embedded.oldest(&queue).await.unwrap();
        age.filter(|age| *age > Duration::from_millis(50))
    });
    assert!(age.await < Duration::from_secs(25));
    consumer.stop.stop(LONG).await;
}
