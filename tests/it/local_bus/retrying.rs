//! Events that fail and are tried again.

use crate::support::{
    stage::{PATIENCE, Stage, calls::Calls, specs::persistent},
    wait,
};
use hearken::{bus::Failure, domain::listener::ListenerSpec};
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;

#[tokio::test]
async fn a_failing_event_is_tried_again_and_holds_up_no_other() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { concurrency: 1, ..persistent("a") };
    stage.add([&listener]).await;
    let calls = Calls::answering(|event, execution| match (event.id.as_str(), execution.attempt) {
        ("bad", 0..=2) => Err(Failure::new("not yet")),
        ("panic", 0) => panic!("at the disco"),
        _ => Ok(()),
    });
    for id in ["bad", "panic", "good"] {
        stage.dispatch_here(id).await;
    }
    let consumer = stage.consume_here(&listener, &calls).await;
    let all =
        [("bad", 0), ("panic", 0), ("good", 0), ("bad", 1), ("panic", 1), ("bad", 2), ("bad", 3)];
    calls.reach(&all).await;
    let order = calls.attempts();
    let position = |call: (&str, u32)| order.iter().position(|(id, n)| (id.as_str(), *n) == call);
    assert!(position(("good", 0)) < position(("bad", 1)));
    stage.settled_with(&listener, 0).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_retry_is_on_time_while_another_event_runs() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let calls = Calls::new(move |call| {
        let hold = hold.clone();
        async move {
            match (call.id(), call.attempt()) {
                ("slow", _) => hold.notified().await,
                ("bad", 0..=1) => return Err(Failure::new("not yet")),
                _ => {}
            }
            Ok(())
        }
    })
    .arc();
    stage.dispatch_here("slow").await;
    stage.dispatch_here("bad").await;
    let started = std::time::Instant::now();
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("slow", 0), ("bad", 0), ("bad", 1), ("bad", 2)]).await;
    // 100 ms and 200 ms; the poll alone would take ten seconds.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    release.notify_one();
    stage.settled_with(&listener, 0).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_listener_that_takes_too_long_has_failed() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { timeout: "100ms".parse().unwrap(), ..persistent("a") };
    stage.add([&listener]).await;
    let calls = Calls::new(|call| async move {
        match call.attempt() {
            0 => std::future::pending().await,
            _ => Ok(()),
        }
    })
    .arc();
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("1", 0), ("1", 1)]).await;
    stage.settled_with(&listener, 0).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_failure_that_asks_for_a_longer_pause_gets_it() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let pause = Duration::from_hours(1);
    let calls =
        Calls::answering(move |_, _| Err(Failure::RetryAfter { cause: "busy".into(), pause }));
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("1", 0)]).await;
    stage.settled_with(&listener, 1).await;
    let embedded = stage.store.embedded().unwrap();
    let pause = embedded.next_due(&stage.queue(&listener)).await.unwrap().unwrap();
    assert!(pause > Duration::from_mins(59), "{pause:?}");
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_listener_knows_since_when_the_event_fails_and_until_when_it_may_run() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let calls = Calls::failing_at_first(2);
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("1", 0), ("1", 1), ("1", 2)]).await;
    stage.settled_with(&listener, 0).await;
    for call in calls.seen() {
        let left = call.execution().deadline - call.at;
        assert!(left > Duration::from_secs(590) && left <= Duration::from_mins(10), "{left:?}");
    }
    let told = calls.seen().iter().map(|call| call.execution().first_failed_at).collect::<Vec<_>>();
    assert!(told[0].is_none() && told[1].is_some() && told[1] == told[2], "{told:?}");
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_execution_that_takes_too_long_or_is_not_waited_for_is_cancelled() {
    let stage = Stage::embedded().await;
    let mut listener = ListenerSpec { timeout: "200ms".parse().unwrap(), ..persistent("a") };
    listener.retry.attempts = 0;
    let patient = ListenerSpec {
        group: "b".parse().unwrap(),
        timeout: "10m".parse().unwrap(),
        ..listener.clone()
    };
    stage.add([&listener]).await;
    stage.add([&patient]).await;
    let calls = Calls::endless();
    stage.dispatch_here("1").await;
    let consumers =
        [stage.consume_here(&listener, &calls).await, stage.consume_here(&patient, &calls).await];
    let cancelled = |group: &str| {
        let executions = calls.seen().into_iter().filter_map(|call| call.execution);
        executions.into_iter().any(|it| it.group.as_str() == group && it.cancelled.is_cancelled())
    };
    calls.reach(&[("1", 0), ("1", 0)]).await;
    assert_eq!(stage.letters_are(1).await[0].group, listener.group);
    assert!(cancelled("a") && !cancelled("b"));
    for consumer in consumers {
        consumer.stop.stop(Duration::from_millis(50)).await;
    }
    assert!(cancelled("b"));
}

#[tokio::test]
async fn the_age_of_the_oldest_waiting_event_always_counts_from_its_publication() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let queue = stage.queue(&listener);
    assert_eq!(stage.store.embedded().unwrap().oldest(&queue).await.unwrap(), None);
    stage.dispatch_here("1").await;
    let pause = Duration::from_hours(1);
    let calls =
        Calls::answering(move |_, _| Err(Failure::RetryAfter { cause: "busy".into(), pause }));
    let consumer = stage.consume_here(&listener, &calls).await;
    stage.settled_with(&listener, 1).await;
    calls.reach(&[("1", 0)]).await;
    let age = wait::until("it gets older", async || {
        let age = stage.store.embedded().unwrap().oldest(&queue).await.unwrap();
        age.filter(|age| *age > Duration::from_millis(50))
    });
    assert!(age.await < Duration::from_secs(25));
    consumer.stop.stop(PATIENCE).await;
}
