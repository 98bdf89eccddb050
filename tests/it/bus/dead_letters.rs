//! Events that a group gave up, from the side of the bus.

use crate::support::stage::{
    PATIENCE, Stage,
    calls::Calls,
    specs::{event, listener, steady},
    store,
};
use hearken::{
    bus::Failure,
    domain::{command::Pending, listener::ListenerSpec, retention::DeadLetterQuota},
    store::dead_letters::DeadLetterFilter,
};
use std::collections::BTreeSet;

/// A listener that gives up at once.
fn strict(group: &str) -> ListenerSpec {
    let mut strict = listener(group);
    strict.retry.attempts = 0;
    strict
}

both! {
    async fn the_same_event_given_up_twice_is_two_entries(stage: Stage) {
        let (node, mut a, calls) = (stage.node("n1"), steady("a"), Calls::failing());
        a.retry.attempts = 1;
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        node.dispatch(&event("e1")).await;
        let letters = stage.letters_are(2).await;
        stage.drained(&a, consumer).await;
        assert_eq!(letters[0].event_id, letters[1].event_id);
        assert_ne!(letters[0].id, letters[1].id);
    }

    async fn each_group_that_gives_an_event_up_has_an_entry_of_its_own(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), strict("a"), strict("b"));
        stage.add([&a, &b]).await;
        let (first, second) = (Calls::failing(), Calls::failing());
        let on_a = stage.consume(&*node.bus, &a, &first).await;
        let on_b = stage.consume(&*node.bus, &b, &second).await;
        node.dispatch(&event("e1")).await;
        let letters = stage.letters_are(2).await;
        stage.drained(&a, on_a).await;
        stage.drained(&b, on_b).await;
        let groups: BTreeSet<_> = letters.iter().map(|letter| letter.group.clone()).collect();
        assert_eq!(groups, BTreeSet::from([a.group.clone(), b.group.clone()]));
        let filter = DeadLetterFilter { group: Some(a.group), ..DeadLetterFilter::default() };
        let found = stage.store.dead_letters_from(&filter, 0, 10).await.unwrap();
        assert_eq!(found.len(), 1);
    }

    async fn at_the_quota_a_failed_event_runs_again_until_there_is_room(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), strict("a"), strict("b"));
        stage.add([&a, &b]).await;
        stage.store.limit_dead_letters(DeadLetterQuota { entries: 1, bytes: 1 << 20 });
        let (first, second) = (Calls::failing(), Calls::failing());
        let on_a = stage.consume(&*node.bus, &a, &first).await;
        node.dispatch(&event("e1")).await;
        stage.letters_are(1).await;
        node.dispatch(&event("e2")).await;
        // The second execution of `e2` shows that its entry was refused.
        first.began(3).await;
        stage.letters_are(1).await;
        // The quota of a group does not concern another group.
        let on_b = stage.consume(&*node.bus, &b, &second).await;
        let letters = stage.letters_are(2).await;
        assert_eq!(letters.iter().filter(|letter| letter.group == b.group).count(), 1);
        stage.store.limit_dead_letters(DeadLetterQuota::default());
        let letters = stage.letters_are(4).await;
        stage.drained(&a, on_a).await;
        stage.drained(&b, on_b).await;
        let failed = letters.iter().filter(|letter| letter.group == a.group);
        let ids: BTreeSet<_> = failed.filter_map(|letter| letter.event_id.as_deref()).collect();
        assert_eq!(ids, BTreeSet::from(["e1", "e2"]));
    }

    async fn redelivering_one_entry_removes_it_and_no_other(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let kept = stage.give_up("a", &event("e1")).await;
        let sent = stage.give_up("a", &event("e2")).await;
        let other = stage.give_up("b", &event("e2")).await;
        node.redeliver(&sent).await.unwrap();
        calls.finished(1).await;
        stage.drained(&a, consumer).await;
        calls.are(["e2"]);
        let left: Vec<_> = stage.letters().await.iter().map(|letter| letter.id).collect();
        assert_eq!(left, [kept.id, other.id]);
    }

    async fn an_event_that_is_redelivered_before_its_queue_is_there_is_kept_for_its_group(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        // The roster has the group, and the topology has not followed yet.
        let add = hearken::domain::command::Command::AddListener(a.clone());
        stage.command(add).await.unwrap();
        let letter = stage.give_up("a", &event("e1")).await;
        // In the process it is refused. RabbitMQ takes it and parks it, because the exchange
        // through which events come back has an alternate one.
        let _ = node.redeliver(&letter).await;
        let kept = stage.letters_are(1).await.remove(0);
        assert_eq!((kept.event_id.as_deref(), kept.destination()), (Some("e1"), Some(&a.group)));
        stage.converge().await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.redeliver(&kept).await.unwrap();
        calls.finished(1).await;
        stage.drained(&a, consumer).await;
        calls.are(["e1"]);
        stage.letters_are(0).await;
    }

    async fn a_body_that_is_not_an_event_is_parked_with_its_group_and_the_next_event_runs(stage: Stage) {
        let (node, mut a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        a.concurrency = 1;
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        stage.publish_raw(&stage.layout.main(&a.bus), "", &[b"not an event"]).await;
        node.dispatch(&event("e1")).await;
        calls.saw("e1").await;
        let letter = stage.letters_are(1).await.remove(0);
        stage.drained(&a, consumer).await;
        calls.are(["e1"]);
        assert_eq!((letter.group.as_str(), letter.origin.as_ref()), ("parked", Some(&a.group)));
        assert_eq!((&letter.event_id, letter.bus), (&None, a.bus));
        let (_, body) = stage.store.dead_letter(letter.id).await.unwrap().unwrap();
        assert_eq!(body, b"not an event");
    }

    async fn a_hundred_bodies_that_are_no_events_stop_no_consumer(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let bodies: Vec<String> = (0..100).map(|n| format!("{{{n}]")).collect();
        let bodies: Vec<&[u8]> = bodies.iter().map(String::as_bytes).collect();
        stage.publish_raw(&stage.layout.main(&a.bus), "", &bodies).await;
        node.dispatch(&event("e1")).await;
        calls.saw("e1").await;
        stage.letters_are(100).await;
        stage.drained(&a, consumer).await;
        calls.are(["e1"]);
    }

    async fn an_event_given_up_by_a_group_that_was_removed_meanwhile_is_kept(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        stage.add([&a]).await;
        let calls = Calls::failing();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        calls.began(1).await;
        stage.remove("a", Pending::Drain).await;
        let letter = stage.letters_are(1).await.remove(0);
        consumer.stop.stop(PATIENCE).await;
        assert_eq!((letter.event_id.as_deref(), calls.order().len()), (Some("e1"), 4));
    }
}

#[tokio::test]
async fn an_event_whose_dead_letter_cannot_be_stored_waits_for_a_node_that_can() {
    let stage = Stage::rabbitmq().await;
    let (_folder, closed) = store().await;
    closed.close().await;
    let (unable, able) = (stage.node_keeping("n1", &closed), stage.node("n2"));
    let a = steady("a");
    stage.add([&a]).await;
    let fails = || Calls::new(|_| async { Err(Failure::permanent("never")) }).arc();
    let (first, second) = (fails(), fails());
    let consumer = stage.consume(&*unable.bus, &a, &first).await;
    able.dispatch(&event("e1")).await;
    first.finished(1).await;
    consumer.stop.stop(PATIENCE).await;
    stage.left_with(&a, 1).await;
    stage.letters_are(0).await;
    let consumer = stage.consume(&*able.bus, &a, &second).await;
    let letter = stage.letters_are(1).await.remove(0);
    stage.drained(&a, consumer).await;
    assert_eq!(letter.event_id.as_deref(), Some("e1"));
}
