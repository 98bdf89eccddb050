//! Dispatching that waits for synchronous listeners.

use crate::support::{
    bus::Dispatching as _,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        specs::{bus, event, persistent},
    },
};
use hearken::{
    bus::Failure,
    domain::listener::{Delivery, ListenerSpec, Mode},
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

fn synchronous(group: &str) -> ListenerSpec {
    ListenerSpec { mode: Mode::Sync, ..persistent(group) }
}

/// Ends executions with a result, each only after other tasks had their turn.
fn slow(result: Result<(), Failure>) -> Arc<Calls> {
    Calls::new(move |_| {
        let result = result.clone();
        async move {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            result
        }
    })
    .arc()
}

#[tokio::test]
async fn dispatch_waits_for_a_synchronous_listener_and_not_for_another() {
    let stage = Stage::embedded().await;
    let (waits, not) = (synchronous("a"), persistent("b"));
    stage.add([&waits]).await;
    stage.add([&not]).await;
    let (calls, held) = (slow(Ok(())), Calls::held());
    let consumers =
        [stage.consume_here(&waits, &calls).await, stage.consume_here(&not, &held).await];
    for n in 1..=20 {
        stage.dispatch_here(&n.to_string()).await;
        assert_eq!(calls.ended(), n);
    }
    held.gate.add_permits(20);
    stage.settled_with(&not, 0).await;
    for consumer in consumers {
        consumer.stop.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn dispatch_succeeds_after_the_first_execution_of_a_synchronous_listener_that_fails() {
    let stage = Stage::embedded().await;
    let (mut retries, mut gives_up) = (synchronous("a"), synchronous("b"));
    (retries.retry.first, retries.retry.max) = ("1h".parse().unwrap(), "1h".parse().unwrap());
    gives_up.retry.attempts = 0;
    stage.add([&retries]).await;
    stage.add([&gives_up]).await;
    let calls = slow(Err(Failure::new("no")));
    let consumers =
        [stage.consume_here(&retries, &calls).await, stage.consume_here(&gives_up, &calls).await];
    stage.dispatch_here("1").await;
    assert_eq!(calls.ended(), 2);
    let letters = stage.letters_are(1).await;
    assert_eq!(letters[0].group, gives_up.group);
    for consumer in consumers {
        consumer.stop.stop(PATIENCE).await;
    }
    assert_eq!(calls.seen().len(), 2);
}

/// A listener that dispatches the next of a chain of events, up to `last`.
fn chain(stage: &Stage, last: u32) -> Arc<Calls> {
    let local = stage.local().clone();
    Calls::new(move |call| {
        let local = local.clone();
        async move {
            let n: u32 = call.id().parse().unwrap();
            if n < last {
                let next = event(&(n + 1).to_string());
                local
                    .dispatch(&bus(), &next, true)
                    .await
                    .map_err(|e| Failure::new(e.to_string()))?;
            }
            Ok(())
        }
    })
    .arc()
}

#[tokio::test]
async fn a_synchronous_listener_that_dispatches_does_not_wait_for_itself() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { concurrency: 1, ..synchronous("a") };
    stage.add([&listener]).await;
    let calls = chain(&stage, 5);
    let consumer = stage.consume_here(&listener, &calls).await;
    stage.dispatch_here("0").await;
    calls.reach(&[("0", 0), ("1", 0), ("2", 0), ("3", 0), ("4", 0), ("5", 0)]).await;
    stage.settled_with(&listener, 0).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn synchronous_listeners_that_dispatch_to_one_another_do_not_wait_for_ever() {
    let stage = Stage::embedded().await;
    let (a, b) = (
        ListenerSpec { concurrency: 1, ..synchronous("a") },
        ListenerSpec { concurrency: 1, ..synchronous("b") },
    );
    let everywhere =
        ListenerSpec { delivery: Delivery::EveryNode, concurrency: 1, ..synchronous("c") };
    stage.add([&a]).await;
    stage.add([&b]).await;
    let (one, other, third) = (chain(&stage, 3), chain(&stage, 3), chain(&stage, 2));
    let consumers = [
        stage.consume_here(&a, &one).await,
        stage.consume_here(&b, &other).await,
        stage.consume_here(&everywhere, &third).await,
    ];
    stage.dispatch_here("0").await;
    // Each of three listeners that got n dispatched n + 1: 1, 3, 9, and then two of them: 18.
    let expected = 1 + 3 + 9 + 18;
    for calls in [&one, &other, &third] {
        assert_eq!(calls.seen().len(), expected);
    }
    for consumer in consumers {
        consumer.stop.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn dispatch_waits_no_longer_than_a_synchronous_listener_may_take() {
    let stage = Stage::embedded().await;
    let listener =
        ListenerSpec { timeout: "300ms".parse().unwrap(), concurrency: 1, ..synchronous("a") };
    stage.add([&listener]).await;
    let stuck = Calls::endless();
    let consumer = stage.consume_here(&listener, &stuck).await;
    let began = Instant::now();
    stage.dispatch_here("1").await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    consumer.stop.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn dispatch_does_not_wait_for_a_synchronous_listener_that_does_not_run_here() {
    let stage = Stage::embedded().await;
    let listener = synchronous("a");
    stage.add([&listener]).await;
    let began = Instant::now();
    stage.dispatch_here("1").await;
    let stuck = Calls::endless();
    let consumer = stage.consume_here(&listener, &stuck).await;
    stuck.reach(&[("1", 0)]).await;
    // It stops while a caller waits for it.
    let (local, next) = (stage.local().clone(), event("2"));
    let waits = tokio::spawn(async move { local.dispatch(&bus(), &next, true).await });
    stuck.reach(&[("1", 0), ("2", 0)]).await;
    assert!(!waits.is_finished());
    consumer.stop.stop(Duration::ZERO).await;
    waits.await.unwrap().unwrap();
    stage.dispatch_here("3").await;
    assert!(began.elapsed() < PATIENCE);
    stage.settled_with(&listener, 3).await;
}

#[tokio::test]
async fn dispatch_waits_for_a_synchronous_every_node_listener_even_if_it_fails() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { delivery: Delivery::EveryNode, ..synchronous("a") };
    let calls = slow(Err(Failure::new("no")));
    let consumer = stage.consume_here(&listener, &calls).await;
    for n in 1..=5 {
        stage.local().dispatch(&bus(), &event(&n.to_string()), false).await.unwrap();
        assert_eq!(calls.ended(), n);
    }
    consumer.stop.stop(PATIENCE).await;
    stage.local().dispatch(&bus(), &event("late"), false).await.unwrap();
    assert_eq!(calls.seen().len(), 5);
    stage.letters_are(0).await;
}

#[tokio::test]
async fn stopping_a_synchronous_every_node_listener_lets_what_runs_finish_or_gives_it_up() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { delivery: Delivery::EveryNode, ..synchronous("a") };
    let stuck = Calls::endless();
    let consumer = stage.consume_here(&listener, &stuck).await;
    let (local, one) = (stage.local().clone(), event("1"));
    let waits = tokio::spawn(async move { local.dispatch(&bus(), &one, false).await });
    stuck.reach(&[("1", 0)]).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    waits.await.unwrap().unwrap();
}
