//! Starting, stopping, losing the connection, and buses that share nothing.

use crate::support::{
    connections,
    proxy::{Proxy, Wire, port_of},
    stage::{
        PATIENCE, Stage, StageNode,
        calls::Calls,
        specs::{bus, event, keys, other_bus, steady},
    },
    wait,
};
use hearken::domain::command::Pending;
use std::sync::Arc;

both! {
    async fn a_node_that_ends_leaves_the_topology_and_nothing_of_its_own(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let before = stage.wanted().await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let registration = node.follow(["k1"], &calls).await;
        consumer.stop.stop(PATIENCE).await;
        drop(registration);
        node.bus.close().await;
        wait::until("only the topology is left", async || {
            (stage.broker.observe().await.unwrap() == before).then_some(())
        })
        .await;
    }

    async fn closing_and_waking_in_any_order_and_repeatedly_harms_nothing(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        node.bus.wake();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        consumer.stop.stop(PATIENCE).await;
        for _ in 0..2 {
            node.bus.close().await;
            node.bus.wake();
        }
        // What is dispatched after all is safe all the same.
        node.dispatch(&event("e1")).await;
        let other = stage.node("n2");
        let consumer = stage.consume(&*other.bus, &a, &calls).await;
        let _healing = other.redispatch();
        calls.finished(1).await;
        stage.drained(&a, consumer).await;
        calls.are(["e1"]);
    }

    async fn a_stopped_group_is_not_called_and_what_came_meanwhile_runs_when_it_is_back(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        let (before, after, other) = (Calls::well(), Calls::well(), Calls::well());
        let on_a = stage.consume(&*node.bus, &a, &before).await;
        let on_b = stage.consume(&*node.bus, &b, &other).await;
        node.dispatch(&event("e1")).await;
        before.finished(1).await;
        on_a.stop.stop(PATIENCE).await;
        for id in ["e2", "e3"] {
            node.dispatch(&event(id)).await;
        }
        other.finished(3).await;
        stage.left_with(&a, 2).await;
        before.are(["e1"]);
        let on_a = stage.consume(&*node.bus, &a, &after).await;
        after.finished(2).await;
        stage.drained(&a, on_a).await;
        stage.drained(&b, on_b).await;
        after.are(["e2", "e3"]);
    }

    async fn after_the_last_group_has_stopped_events_wait_and_nothing_takes_them(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        stage.consume(&*node.bus, &a, &calls).await.stop.stop(PATIENCE).await;
        for id in ["e1", "e2", "e3"] {
            node.dispatch(&event(id)).await;
        }
        stage.left_with(&a, 3).await;
        wait::until("consumers gone", async || (stage.count_of(&a).await == (3, 0)).then_some(())).await;
        // Started again, it is consumed by one, and each event runs once.
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        calls.finished(3).await;
        wait::until("one consumes", async || (stage.count_of(&a).await == (0, 1)).then_some(())).await;
        stage.drained(&a, consumer).await;
        calls.are(["e1", "e2", "e3"]);
    }

    async fn a_group_removed_to_be_kept_finds_its_waiting_events_when_added_again(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let (queue, exchange) = (stage.queue(&a), stage.layout.main(&bus()));
        node.dispatch(&event("waits")).await;
        stage.remove("a", Pending::Keep).await;
        node.dispatch(&event("between")).await;
        let observed = stage.broker.observe().await.unwrap();
        assert!(observed.queues.contains_key(&queue) && observed.exchanges.contains_key(&exchange));
        stage.add([&a]).await;
        assert_eq!(stage.queue(&a), queue);
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("after")).await;
        calls.finished(2).await;
        stage.drained(&a, consumer).await;
        calls.are(["after", "waits"]);
    }

    async fn two_buses_share_neither_groups_nor_keys(stage: Stage) {
        let node = stage.node("n1");
        let (a, mut b) = (steady("a"), steady("b"));
        b.bus = other_bus();
        stage.add([&a, &b]).await;
        let (on_mail, on_jmap) = (Calls::well(), Calls::well());
        let (mail_key, jmap_key) = (Calls::well(), Calls::well());
        let first = stage.consume(&*node.bus, &a, &on_mail).await;
        let second = stage.consume(&*node.bus, &b, &on_jmap).await;
        let _mail = node.follow_on(&bus(), ["k1"], &mail_key).await;
        let _jmap = node.follow_on(&other_bus(), ["k1"], &jmap_key).await;
        for (name, id) in [(bus(), "mail"), (other_bus(), "jmap")] {
            let events = vec![(event(id), keys(["k1"]))];
            node.dispatcher.dispatch(&name, events).await.unwrap();
        }
        for (calls, id) in [(&on_mail, "mail"), (&on_jmap, "jmap"), (&mail_key, "mail"), (&jmap_key, "jmap")] {
            calls.saw(id).await;
        }
        stage.drained(&a, first).await;
        stage.drained(&b, second).await;
        let execution = on_jmap.seen()[0].execution.clone().unwrap();
        assert_eq!(execution.bus, other_bus());
        for (calls, id) in [(&on_mail, "mail"), (&on_jmap, "jmap"), (&mail_key, "mail"), (&jmap_key, "jmap")] {
            calls.are([id]);
        }
    }

    async fn the_names_that_hold_events_never_change(stage: Stage) {
        stage.add([&steady("a")]).await;
        let observed = stage.broker.observe().await.unwrap();
        assert!(observed.exchanges.contains_key("hearken.mailboxEvent"), "{observed:?}");
        assert!(observed.queues.contains_key("hearken.mailboxEvent.work.a.v1"), "{observed:?}");
    }
}

/// A group `a` and a follower of `k1` that were there before a fault.
struct Old {
    node: StageNode,
    group: Arc<Calls>,
    follower: Arc<Calls>,
}

impl Old {
    /// Dispatches, redelivers and follows, with the old listeners and with new ones.
    async fn works(&self, stage: &Stage) {
        self.node.notify(&event("old"), ["k1"]).await;
        self.group.saw("old").await;
        self.follower.saw("old").await;
        let letter = stage.give_up("a", &event("again")).await;
        self.node.redeliver(&letter).await.unwrap();
        self.group.saw("again").await;
        let (fresh, calls, follower) = (steady("fresh"), Calls::well(), Calls::well());
        stage.add([&fresh]).await;
        let _consumer = stage.consume(&*self.node.bus, &fresh, &calls).await;
        let _registration = self.node.follow(["k2"], &follower).await;
        stage.node("n9").notify(&event("new"), ["k2"]).await;
        calls.saw("new").await;
        follower.saw("new").await;
    }
}

#[tokio::test]
async fn after_lost_connections_groups_keys_and_redelivering_work_old_and_new() {
    let stage = Stage::rabbitmq().await;
    let (node, a, calls, follower) = (stage.node("n1"), steady("a"), Calls::well(), Calls::well());
    stage.add([&a]).await;
    let _consumer = stage.consume(&*node.bus, &a, &calls).await;
    let _registration = node.follow(["k1"], &follower).await;
    node.notify(&event("before"), ["k1"]).await;
    calls.saw("before").await;
    follower.saw("before").await;
    connections::close_all(stage.host()).await;
    wait::until("the listener is told", async || (follower.resynchronised() > 0).then_some(()))
        .await;
    Old { node, group: calls, follower }.works(&stage).await;
    stage.letters_are(0).await;
}

#[tokio::test]
async fn after_the_network_was_cut_old_and_new_groups_and_keys_work() {
    let stage = Stage::rabbitmq().await;
    let proxy = Proxy::before(port_of(&stage.host().amqp)).await;
    let node = stage.node_at("n1", &proxy.through(&stage.host().amqp), &stage.store);
    let (a, calls, follower) = (steady("a"), Calls::well(), Calls::well());
    stage.add([&a]).await;
    let _consumer = stage.consume(&*node.bus, &a, &calls).await;
    let _registration = node.follow(["k1"], &follower).await;
    let told = follower.resynchronised();
    proxy.set(Wire::Cut);
    node.notify(&event("meanwhile"), ["k1"]).await;
    stage.letters_are(1).await;
    let _healing = node.redispatch();
    proxy.set(Wire::Up);
    wait::until("the listener is told", async || (follower.resynchronised() > told).then_some(()))
        .await;
    stage.letters_are(0).await;
    calls.saw("meanwhile").await;
    Old { node, group: calls, follower }.works(&stage).await;
}

#[tokio::test]
async fn a_program_bound_to_the_exchange_gets_the_event_as_it_was_dispatched() {
    let stage = Stage::rabbitmq().await;
    let node = stage.node("n1");
    let foreign = stage.foreign_queue("hearken.mailboxEvent", "").await;
    node.dispatch(&event("e1")).await;
    let taken = foreign.take().await;
    let body: serde_json::Value = serde_json::from_slice(&taken.delivery.data).unwrap();
    assert_eq!(
        (&body["id"], &body["type"], &body["data"]["n"]),
        (&"e1".into(), &"Added".into(), &1.0.into())
    );
    assert_eq!(body["specversion"], "1.0");
    assert_eq!(*taken.delivery.properties.delivery_mode(), Some(2));
}
