//! At least once for groups, at most once for keys, however much comes at the same time.

use crate::support::{
    connections,
    stage::{
        PATIENCE, Stage, StageNode,
        calls::Calls,
        specs::{event, keys, steady},
    },
    wait,
};
use futures_util::future::join_all;
use std::time::Duration;

/// Dispatches from ten tasks at the same time, `each` events a task.
async fn flood(node: &StageNode, each: usize, key: &str) {
    join_all((0..10).map(async |lane| {
        for n in 0..each {
            node.notify(&event(&format!("{lane}-{n}")), [key]).await;
        }
    }))
    .await;
}

both! {
    async fn unacknowledged_events_of_a_stopped_node_run_on_the_next_node_and_the_third(stage: Stage) {
        let a = steady("a");
        stage.add([&a]).await;
        let (first, second, third) = (Calls::held(), Calls::held(), Calls::well());
        let nodes = ["n1", "n2", "n3"].map(|name| stage.node(name));
        let on_first = stage.consume(&*nodes[0].bus, &a, &first).await;
        nodes[2].dispatch(&event("e1")).await;
        first.began(1).await;
        let on_second = stage.consume(&*nodes[1].bus, &a, &second).await;
        on_first.stop.stop(Duration::ZERO).await;
        second.began(1).await;
        let on_third = stage.consume(&*nodes[2].bus, &a, &third).await;
        on_second.stop.stop(Duration::ZERO).await;
        third.finished(1).await;
        stage.drained(&a, on_third).await;
        assert_eq!((first.ended(), second.ended()), (0, 0));
        third.are(["e1"]);
    }

    async fn a_group_that_has_run_does_not_run_again_because_another_was_stopped(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        let (done, stuck, works) = (Calls::well(), Calls::held(), Calls::well());
        let on_a = stage.consume(&*node.bus, &a, &done).await;
        let on_b = stage.consume(&*node.bus, &b, &stuck).await;
        node.dispatch(&event("e1")).await;
        done.finished(1).await;
        stuck.began(1).await;
        on_b.stop.stop(Duration::ZERO).await;
        let on_b = stage.consume(&*node.bus, &b, &works).await;
        works.finished(1).await;
        stage.drained(&a, on_a).await;
        stage.drained(&b, on_b).await;
        done.are(["e1"]);
        works.are(["e1"]);
    }

    async fn thousands_of_events_from_ten_dispatchers_all_arrive_once(stage: Stage) {
        let (node, mut a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        a.concurrency = 200;
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let ids: Vec<_> = (0..stage.many()).map(|n| format!("e{n:04}")).collect();
        join_all(ids.chunks(ids.len() / 10).map(async |lane| {
            for batch in lane.chunks(50) {
                let events = batch.iter().map(|id| (event(id), keys([]))).collect();
                node.try_dispatch(events).await.unwrap();
            }
        }))
        .await;
        wait::within(Duration::from_mins(2), "all have run", async || {
            (calls.ended() >= ids.len()).then_some(())
        })
        .await;
        stage.drained(&a, consumer).await;
        let mut seen = calls.order();
        seen.sort();
        assert_eq!(seen, ids);
    }

    async fn concurrent_dispatches_reach_three_groups_once_and_every_follower_on_every_node(stage: Stage) {
        let nodes = stage.nodes();
        let (one, two) = (&nodes[0], nodes.last().unwrap());
        let groups = [steady("a"), steady("b"), steady("c")];
        stage.add(groups.each_ref()).await;
        let runs = [Calls::well(), Calls::well(), Calls::well()];
        let follows = [Calls::well(), Calls::well(), Calls::well_at_once()];
        let (mut consumers, mut registrations) = (Vec::new(), Vec::new());
        for node in &nodes {
            for (listener, calls) in groups.iter().zip(&runs) {
                consumers.push((listener, stage.consume(&*node.bus, listener, calls).await));
            }
        }
        for (node, calls) in [(one, &follows[0]), (two, &follows[1]), (one, &follows[2])] {
            registrations.push(node.follow(["k1"], calls).await);
        }
        flood(one, 30, "k1").await;
        for calls in runs.iter().chain(&follows) {
            calls.finished(300).await;
        }
        for (listener, consumer) in consumers {
            stage.drained(listener, consumer).await;
        }
        for calls in runs.iter().chain(&follows) {
            assert_eq!((calls.counts().len(), calls.order().len()), (300, 300));
        }
    }

    async fn of_followers_that_come_one_by_one_the_first_sees_every_event_from_then_on(stage: Stage) {
        let node = stage.node("n1");
        let all: Vec<_> = (0..10).map(|_| Calls::well()).collect();
        // Each follows, then dispatches; so the first that follows sees every event.
        join_all(all.iter().enumerate().map(async |(lane, calls)| {
            let registration = node.follow(["k1"], calls).await;
            for n in 0..30 {
                node.notify(&event(&format!("{lane}-{n}")), ["k1"]).await;
            }
            wait::until("its own have come", async || {
                let own = format!("{lane}-");
                let seen = calls.order();
                (seen.iter().filter(|id| id.starts_with(&own)).count() == 30).then_some(())
            })
            .await;
            std::mem::forget(registration);
        }))
        .await;
        wait::until("one has seen all", async || {
            all.iter().any(|calls| calls.counts().len() == 300).then_some(())
        })
        .await;
        assert!(all.iter().all(|calls| calls.counts().values().all(|count| *count == 1)));
    }
}

#[tokio::test]
async fn a_lost_connection_brings_back_an_unacknowledged_event_but_no_notification() {
    let stage = Stage::rabbitmq().await;
    let (here, there, a) = (stage.node("n1"), stage.node("n2"), steady("a"));
    stage.add([&a]).await;
    let (follower, group) = (Calls::held(), Calls::held());
    let _registration = there.follow(["k1"], &follower).await;
    let consumer = stage.consume(&*there.bus, &a, &group).await;
    here.notify(&event("e1"), ["k1"]).await;
    follower.began(1).await;
    group.began(1).await;
    connections::close_all(stage.host()).await;
    follower.gate.add_permits(100);
    group.gate.add_permits(100);
    // The group's event is delivered again, because its acknowledgement could not be sent.
    group.began(2).await;
    wait::until("the listener is told", async || (follower.resynchronised() > 0).then_some(()))
        .await;
    here.notify(&event("e2"), ["k1"]).await;
    follower.saw("e2").await;
    assert_eq!(follower.order(), ["e1", "e2"]);
    consumer.stop.stop(PATIENCE).await;
}
