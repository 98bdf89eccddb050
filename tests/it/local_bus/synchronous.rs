//! Dispatching that waits for synchronous listeners.

use super::scene::{Calls, LONG, Node, bus, event, listener, reaches};
use crate::support::bus::Dispatching as _;
use hearken::{
    bus::{ConsumerState, Failure},
    domain::listener::{Delivery, ListenerSpec, Mode},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;

fn synchronous(group: &str) -> ListenerSpec {
    ListenerSpec { mode: Mode::Sync, ..listener(group) }
}

/// Counts executions that have ended, each after a while.
fn slow(ended: &Arc<AtomicUsize>, result: Result<(), Failure>) -> Arc<Calls> {
    let ended = ended.clone();
    Calls::doing(move |_, _| {
        let (ended, result) = (ended.clone(), result.clone());
        async move {
            for _ in 0..50 {
                tokio::task::yield_now().await;
            }
            ended.fetch_add(1, Ordering::SeqCst);
            result
        }
    })
}

#[tokio::test]
async fn dispatch_waits_for_a_synchronous_listener_and_not_for_another() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let (waits, not) = (synchronous("a"), listener("b"));
    node.declare(&waits).await;
    node.declare(&not).await;
    let (ended, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let shut = gate.clone();
    let held = Calls::doing(move |_, _| {
        let shut = shut.clone();
        async move {
            shut.acquire().await.unwrap().forget();
            Ok(())
        }
    });
    let mut consumers = [node.consume(&waits, &slow(&ended, Ok(()))), node.consume(&not, &held)];
    for consumer in &mut consumers {
        reaches(consumer, "it runs", |state| *state == ConsumerState::Running).await;
    }
    for n in 1..=20 {
        node.dispatch(&n.to_string()).await;
        assert_eq!(ended.load(Ordering::SeqCst), n);
    }
    gate.add_permits(20);
    node.is_left_with(&not, 0, 0).await;
    for consumer in consumers {
        consumer.stop.stop(LONG).await;
    }
}

#[tokio::test]
async fn dispatch_succeeds_after_the_first_execution_of_a_synchronous_listener_that_fails() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let (mut retries, mut gives_up) = (synchronous("a"), synchronous("b"));
    (retries.retry.first, retries.retry.max) = ("1h".parse().unwrap(), "1h".parse().unwrap());
    gives_up.retry.attempts = 0;
    node.declare(&retries).await;
    node.declare(&gives_up).await;
    let ended = Arc::new(AtomicUsize::new(0));
    let calls = slow(&ended, Err(Failure::new("no")));
    let mut consumers = [node.consume(&retries, &calls), node.consume(&gives_up, &calls)];
    for consumer in &mut consumers {
        reaches(consumer, "it runs", |state| *state == ConsumerState::Running).await;
    }
    node.dispatch("1").await;
    assert_eq!(ended.load(Ordering::SeqCst), 2);
    let letters = node.letters(1).await;
    assert_eq!(letters[0].group, gives_up.group);
    for consumer in consumers {
        consumer.stop.stop(LONG).await;
    }
    assert_eq!(calls.seen().len(), 2);
}

/// A handler that dispatches the next of a chain of events, up to `last`.
fn chain(node: &Node, last: u32) -> Arc<Calls> {
    let local = node.bus.clone();
    Calls::doing(move |seen, _| {
        let local = local.clone();
        async move {
            let n: u32 = seen.id.parse().unwrap();
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
}

#[tokio::test]
async fn a_synchronous_listener_that_dispatches_does_not_wait_for_itself() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = ListenerSpec { concurrency: 1, ..synchronous("a") };
    node.declare(&listener).await;
    let calls = chain(&node, 5);
    let mut consumer = node.consume(&listener, &calls);
    reaches(&mut consumer, "it runs", |state| *state == ConsumerState::Running).await;
    node.dispatch("0").await;
    calls.are(&[("0", 0), ("1", 0), ("2", 0), ("3", 0), ("4", 0), ("5", 0)]).await;
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn synchronous_listeners_that_dispatch_to_one_another_do_not_wait_for_ever() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let (a, b) = (
        ListenerSpec { concurrency: 1, ..synchronous("a") },
        ListenerSpec { concurrency: 1, ..synchronous("b") },
    );
    let everywhere =
        ListenerSpec { delivery: Delivery::EveryNode, concurrency: 1, ..synchronous("c") };
    node.declare(&a).await;
    node.declare(&b).await;
    let (one, other, third) = (chain(&node, 3), chain(&node, 3), chain(&node, 2));
    let mut consumers =
        [node.consume(&a, &one), node.consume(&b, &other), node.consume(&everywhere, &third)];
    for consumer in &mut consumers {
        reaches(consumer, "it runs", |state| *state == ConsumerState::Running).await;
    }
    node.dispatch("0").await;
    // Each of three listeners that got n dispatched n + 1: 1, 3, 9, and then two of them: 18.
    let expected = 1 + 3 + 9 + 18;
    for calls in [&one, &other, &third] {
        assert_eq!(calls.seen().len(), expected);
    }
    for consumer in consumers {
        consumer.stop.stop(LONG).await;
    }
}

#[tokio::test]
async fn dispatch_waits_no_longer_than_a_synchronous_listener_may_take() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener =
        ListenerSpec { timeout: "300ms".parse().unwrap(), concurrency: 1, ..synchronous("a") };
    node.declare(&listener).await;
    let stuck = Calls::doing(|_, _| std::future::pending());
    let mut consumer = node.consume(&listener, &stuck);
    reaches(&mut consumer, "it runs", |state| *state == ConsumerState::Running).await;
    let began = Instant::now();
    node.dispatch("1").await;
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    consumer.stop.stop(Duration::ZERO).await;
}

#[tokio::test]
async fn dispatch_does_not_wait_for_a_synchronous_listener_that_does_not_run_here() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = synchronous("a");
    node.declare(&listener).await;
    let began = Instant::now();
    node.dispatch("1").await;
    let stuck = Calls::doing(|_, _| std::future::pending());
    let consumer = node.consume(&listener, &stuck);
    stuck.are(&[("1", 0)]).await;
    // It stops while a caller waits for it.
    let (local, next) = (node.bus.clone(), event("2"));
    let waits = tokio::spawn(async move { local.dispatch(&bus(), &next, true).await });
    stuck.are(&[("1", 0), ("2", 0)]).await;
    assert!(!waits.is_finished());
    consumer.stop.stop(Duration::ZERO).await;
    waits.await.unwrap().unwrap();
    node.dispatch("3").await;
    assert!(began.elapsed() < LONG);
    node.is_left_with(&listener, 3, 0).await;
}

#[tokio::test]
async fn dispatch_waits_for_a_synchronous_every_node_listener_even_if_it_fails() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    node.declare_bus().await;
    let listener = ListenerSpec { delivery: Delivery::EveryNode, ..synchronous("a") };
    let ended = Arc::new(AtomicUsize::new(0));
    let calls = slow(&ended, Err(Failure::new("no")));
    let mut consumer = node.consume(&listener, &calls);
    reaches(&mut consumer, "it runs", |state| *state == ConsumerState::Running).await;
    for n in 1..=5 {
        node.bus.dispatch(&bus(), &event(&n.to_string()), false).await.unwrap();
        assert_eq!(ended.load(Ordering::SeqCst), n);
    }
    consumer.stop.stop(LONG).await;
    node.bus.dispatch(&bus(), &event("late"), false).await.unwrap();
    assert_eq!(calls.seen().len(), 5);
    node.letters(0).await;
}

#[tokio::test]
async fn stopping_a_synchronous_every_node_listener_lets_what_runs_finish_or_gives_it_up() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    node.declare_bus().await;
    let listener = ListenerSpec { delivery: Delivery::EveryNode, ..synchronous("a") };
    let stuck = Calls::doing(|_, _| std::future::pending());
    let consumer = node.consume(&listener, &stuck);
    let (local, one) = (node.bus.clone(), event("1"));
    let waits = tokio::spawn(async move { local.dispatch(&bus(), &one, false).await });
    stuck.are(&[("1", 0)]).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    waits.await.unwrap().unwrap();
}
