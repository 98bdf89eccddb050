//! Consumers: how many run, what they wait for, how they stop.

use super::scene::{Calls, LONG, Node, listener, reaches};
use crate::support::{bus::plain, wait};
use hearken::{
    bus::{ConsumerState, Consumption, EventBus, Failure},
    domain::{depth::Depth, listener::ListenerSpec, plan::Action},
};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::Notify;

#[tokio::test]
async fn no_more_run_at_once_than_the_listener_says_and_all_run() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = ListenerSpec { concurrency: 3, ..listener("a") };
    node.declare(&listener).await;
    for n in 0..20 {
        node.dispatch(&n.to_string()).await;
    }
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let (at_once, highest, go) = (running.clone(), most.clone(), gate.clone());
    let calls = Calls::doing(move |_, _| {
        let (at_once, highest, go) = (at_once.clone(), highest.clone(), go.clone());
        async move {
            highest.fetch_max(at_once.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            go.acquire().await.unwrap().forget();
            at_once.fetch_sub(1, Ordering::SeqCst);
            Ok(())
        }
    });
    let consumer = node.consume(&listener, &calls);
    wait::until("three run", || async { (running.load(Ordering::SeqCst) == 3).then_some(()) })
        .await;
    let expected = Depth { ready: 17, unacked: 3, consumers: 1 };
    assert_eq!(node.depth(&listener).await, expected);
    gate.add_permits(20);
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
    assert_eq!((calls.seen().len(), most.load(Ordering::SeqCst)), (20, 3));
    assert_eq!(node.depth(&listener).await, Depth::default());
}

#[tokio::test]
async fn a_consumer_without_its_queue_waits_and_goes_on_when_it_is_woken() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare_bus().await;
    let calls = Calls::succeeding();
    let mut consumer = node.consume(&listener, &calls);
    let queue = node.queue(&listener);
    reaches(
        &mut consumer,
        "it waits",
        |state| matches!(state, ConsumerState::Waiting(why) if why.contains(&queue)),
    )
    .await;
    node.declare(&listener).await;
    node.bus.wake();
    reaches(&mut consumer, "it runs", |state| *state == ConsumerState::Running).await;
    node.dispatch("1").await;
    calls.are(&[("1", 0)]).await;
    node.apply(Action::DeleteQueue(queue)).await;
    node.bus.wake();
    reaches(&mut consumer, "it waits", |state| *state != ConsumerState::Running).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn stopping_lets_what_is_in_hand_finish_and_takes_nothing_more() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = ListenerSpec { concurrency: 1, ..listener("a") };
    node.declare(&listener).await;
    let (started, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begin, hold) = (started.clone(), release.clone());
    let calls = Calls::doing(move |_, _| {
        let (begin, hold) = (begin.clone(), hold.clone());
        async move {
            begin.notify_one();
            hold.notified().await;
            Ok(())
        }
    });
    node.dispatch("1").await;
    node.dispatch("2").await;
    let consumer = node.consume(&listener, &calls);
    started.notified().await;
    let stopping = tokio::spawn(consumer.stop.stop(LONG));
    tokio::task::yield_now().await;
    assert!(!stopping.is_finished());
    release.notify_one();
    stopping.await.unwrap();
    assert_eq!(calls.seen(), [("1".to_owned(), 0)]);
    assert_eq!(node.depth(&listener).await, Depth { ready: 1, unacked: 0, consumers: 0 });
}

#[tokio::test]
async fn stopping_does_not_wait_longer_than_its_patience_and_the_event_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let stuck = Calls::doing(|_, _| std::future::pending());
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &stuck);
    stuck.are(&[("1", 0)]).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    assert_eq!(node.depth(&listener).await, Depth { ready: 1, unacked: 0, consumers: 0 });
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0)]).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn what_one_consumer_has_in_hand_another_of_the_same_queue_does_not_take() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let leaving = Calls::doing(move |_, _| {
        let hold = hold.clone();
        async move {
            hold.notified().await;
            Ok(())
        }
    });
    node.dispatch("1").await;
    let old = node.consume(&listener, &leaving);
    leaving.are(&[("1", 0)]).await;
    let stopping = tokio::spawn(old.stop.stop(LONG));
    let calls = Calls::succeeding();
    let new = node.consume(&listener, &calls);
    node.dispatch("2").await;
    calls.are(&[("2", 0)]).await;
    release.notify_one();
    stopping.await.unwrap();
    node.is_left_with(&listener, 0, 0).await;
    new.stop.stop(LONG).await;
    calls.are(&[("2", 0)]).await;
}

#[tokio::test]
async fn a_draining_queue_is_consumed_until_it_is_empty_and_then_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let calls = Calls::doing(move |_, execution| {
        let hold = hold.clone();
        async move {
            hold.notified().await;
            if execution.attempt == 0 { Err(Failure::new("once more")) } else { Ok(()) }
        }
    });
    node.dispatch("1").await;
    let queue = node.queue(&listener);
    let consumption = Consumption {
        listener: listener.clone(),
        bus: plain(&listener.bus),
        queue: queue.clone(),
        draining: true,
    };
    let consumer = node.bus.consume(consumption, calls.clone());
    calls.are(&[("1", 0)]).await;
    assert_eq!(node.depth(&listener).await, Depth { ready: 0, unacked: 1, consumers: 1 });
    release.notify_one();
    calls.are(&[("1", 0), ("1", 1)]).await;
    assert_eq!(node.depth(&listener).await.consumers, 1);
    release.notify_one();
    wait::until("consumers gone", || async {
        (node.depth(&listener).await == Depth::default()).then_some(())
    })
    .await;
    assert_eq!(node.apply(Action::DeleteQueue(queue)).await, 0);
    consumer.stop.stop(LONG).await;
}
