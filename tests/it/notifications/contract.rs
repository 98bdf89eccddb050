//! What both buses promise to followers of keys. A listener gets events in order, so a later event
//! that arrived shows that an earlier event did not.

use crate::support::{
    bus::plain,
    stage::{
        Stage,
        calls::Calls,
        keys::{follow, follow_on, publish, send},
        specs::{bus, event, keys, other_bus},
    },
    wait,
};
use futures_util::future::join_all;
use hearken::{
    bus::{EventBus, event::Event},
    domain::listener::Mode,
};
use std::sync::Arc;

/// A bus as two nodes see it. On an embedded stage the two nodes are one.
struct Ends {
    here: Arc<dyn EventBus>,
    there: Arc<dyn EventBus>,
    _stage: Stage,
}

fn ends(stage: Stage) -> Ends {
    let [here, there] = stage.pair();
    Ends { here, there, _stage: stage }
}

macro_rules! on_both_buses {
    ($($name:ident)*) => {
        mod in_process {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::ends(super::Stage::embedded().await)).await; })*
        }
        mod over_rabbitmq {
            $(#[tokio::test(flavor = "multi_thread")] async fn $name() { super::$name(super::ends(super::Stage::rabbitmq().await)).await; })*
        }
    };
}

on_both_buses! {
    a_listener_gets_the_events_of_its_keys_once_each
    noop_and_unhandled_events_reach_no_listener
    dispatch_waits_for_the_synchronous_listeners_of_its_node
    dispatch_does_not_wait_for_asynchronous_listeners
    a_listener_that_fails_harms_neither_itself_nor_others
    a_listener_is_under_a_key_once_or_not_at_all
    what_was_dispatched_before_or_after_is_not_delivered
    no_more_than_ten_executions_run_at_a_time
    listeners_run_at_the_same_time
    buses_share_no_keys
    concurrent_dispatches_reach_every_listener
}

async fn a_listener_gets_the_events_of_its_keys_once_each(on: Ends) {
    let (both, one) = (Calls::follower(Mode::Async), Calls::follower(Mode::Async));
    let _both = follow(&on.here, ["a", "b"], &both).await;
    let _one = follow(&on.here, ["b"], &one).await;
    send(&on.there, "1", ["a", "b", "c"]).await;
    send(&on.there, "2", []).await;
    send(&on.there, "3", ["c"]).await;
    send(&on.there, "4", ["a"]).await;
    send(&on.there, "5", ["b"]).await;
    assert_eq!(both.called(3).await, ["1", "4", "5"]);
    assert_eq!(both.keys(), [keys(["a", "b"]), keys(["a"]), keys(["b"])]);
    assert_eq!(one.called(2).await, ["1", "5"]);
    assert_eq!(one.keys(), [keys(["b"]), keys(["b"])]);
}

async fn noop_and_unhandled_events_reach_no_listener(on: Ends) {
    let listener = Calls::follower(Mode::Async);
    let _registration = follow(&on.here, ["a"], &listener).await;
    let noop = Event { noop: true, ..event("1") };
    let unhandled = Event { kind: "Unsupported".into(), ..event("2") };
    for event in [noop, unhandled, event("3")] {
        publish(&on.there, &plain(&bus()), event, keys(["a"])).await;
    }
    assert_eq!(listener.called(1).await, ["3"]);
}

async fn dispatch_waits_for_the_synchronous_listeners_of_its_node(on: Ends) {
    let (sync, fence) = (Calls::follower(Mode::Sync), Calls::follower(Mode::Async));
    let _sync = follow(&on.here, ["a"], &sync).await;
    let _fence = follow(&on.here, ["a"], &fence).await;
    send(&on.here, "1", ["a"]).await;
    assert_eq!(sync.order(), ["1"], "it has run when dispatch returns");
    send(&on.there, "2", ["a"]).await;
    assert_eq!(sync.called(2).await, ["1", "2"]);
    send(&on.here, "3", ["a"]).await;
    fence.called(3).await;
    assert_eq!(sync.order(), ["1", "2", "3"], "its own node's events do not come back to it");
}

async fn dispatch_does_not_wait_for_asynchronous_listeners(on: Ends) {
    let listener = Calls::held_follower(Mode::Async);
    let _registration = follow(&on.here, ["a"], &listener).await;
    send(&on.here, "1", ["a"]).await;
    listener.called(1).await;
    assert_eq!(listener.running(), 1, "it still runs");
    listener.gate.add_permits(1);
    wait::until("it ends", async || (listener.running() == 0).then_some(())).await;
}

async fn a_listener_that_fails_harms_neither_itself_nor_others(on: Ends) {
    for (mode, key) in [(Mode::Sync, "a"), (Mode::Async, "b")] {
        let (one, other) = (Calls::follower(mode), Calls::follower(mode));
        let _one = follow(&on.here, [key], &one).await;
        let _other = follow(&on.here, [key], &other).await;
        for id in ["fails", "panics", "1"] {
            send(&on.here, id, [key]).await;
        }
        assert_eq!(one.called(3).await, ["fails", "panics", "1"]);
        assert_eq!(other.called(3).await, ["fails", "panics", "1"]);
    }
}

async fn a_listener_is_under_a_key_once_or_not_at_all(on: Ends) {
    let (listener, fence) = (Calls::follower(Mode::Async), Calls::follower(Mode::Async));
    let _fence = follow(&on.here, ["a", "b"], &fence).await;
    let first = follow(&on.here, ["a", "b"], &listener).await;
    let second = follow(&on.here, ["a"], &listener).await;
    send(&on.there, "1", ["a"]).await;
    fence.called(1).await;
    drop(second);
    send(&on.there, "2", ["a"]).await;
    send(&on.there, "3", ["b"]).await;
    fence.called(3).await;
    assert_eq!(
        listener.called(2).await,
        ["1", "3"],
        "gone from one key, and still under the other"
    );
    drop(first);
    send(&on.there, "4", ["a", "b"]).await;
    fence.called(4).await;
    assert_eq!(listener.order(), ["1", "3"]);
}

async fn what_was_dispatched_before_or_after_is_not_delivered(on: Ends) {
    let (listener, fence) = (Calls::follower(Mode::Async), Calls::follower(Mode::Async));
    let _fence = follow(&on.here, ["a"], &fence).await;
    send(&on.there, "before", ["a"]).await;
    fence.called(1).await;
    let registration = follow(&on.here, ["a"], &listener).await;
    send(&on.there, "while", ["a"]).await;
    assert_eq!(listener.called(1).await, ["while"]);
    drop(registration);
    send(&on.there, "after", ["a"]).await;
    fence.called(3).await;
    assert_eq!(listener.order(), ["while"]);
}

async fn no_more_than_ten_executions_run_at_a_time(on: Ends) {
    for (mode, key) in [(Mode::Async, "a"), (Mode::Sync, "b")] {
        let listener = Calls::held_follower(mode);
        let _registration = follow(&on.here, [key], &listener).await;
        let ids: Vec<String> = (0..50).map(|id| id.to_string()).collect();
        let all = join_all(ids.iter().map(|id| send(&on.here, id, [key])));
        let watching = async {
            listener.called(10).await;
            listener.gate.add_permits(50);
            listener.called(50).await
        };
        let (_, seen) = tokio::join!(all, watching);
        assert_eq!((seen.len(), listener.most()), (50, 10), "{mode:?}");
    }
}

async fn listeners_run_at_the_same_time(on: Ends) {
    let listeners = [(); 3].map(|()| Calls::held_follower(Mode::Async));
    let mut registrations = Vec::new();
    for listener in &listeners {
        registrations.push(follow(&on.here, ["a"], listener).await);
    }
    send(&on.there, "1", ["a"]).await;
    for listener in &listeners {
        listener.called(1).await;
    }
    assert_eq!(listeners.each_ref().map(|listener| listener.running()), [1, 1, 1]);
    for listener in &listeners {
        listener.gate.add_permits(1);
    }
}

async fn buses_share_no_keys(on: Ends) {
    let (one, other) = (Calls::follower(Mode::Async), Calls::follower(Mode::Async));
    let _one = follow(&on.here, ["a"], &one).await;
    let _other = follow_on(&on.here, &plain(&other_bus()), ["a"], &other).await;
    send(&on.there, "1", ["a"]).await;
    publish(&on.there, &plain(&other_bus()), event("2"), keys(["a"])).await;
    send(&on.there, "3", ["a"]).await;
    publish(&on.there, &plain(&other_bus()), event("4"), keys(["a"])).await;
    assert_eq!(one.called(2).await, ["1", "3"]);
    assert_eq!(other.called(2).await, ["2", "4"]);
}

async fn concurrent_dispatches_reach_every_listener(on: Ends) {
    let (here, there) = (Calls::follower(Mode::Async), Calls::follower(Mode::Async));
    let _here = follow(&on.here, ["a"], &here).await;
    let _there = follow(&on.there, ["a"], &there).await;
    let senders = (0..10).map(async |sender| {
        for number in 0..30 {
            let node = if sender % 2 == 0 { &on.here } else { &on.there };
            send(node, &format!("{sender}-{number}"), ["a", "b"]).await;
        }
    });
    join_all(senders).await;
    for listener in [here, there] {
        let mut ids = listener.called(300).await;
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), listener.order().len()), (300, 300));
    }
}
