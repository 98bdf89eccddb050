//! Behaviour that James's own contract names in tests that cannot fail.

use crate::support::stage::{
    Stage,
    calls::Calls,
    specs::{bus, event, keys, steady},
};
use hearken::{bus::Failure, dispatch::BatchError};
use std::time::Duration;

both! {
    async fn dispatch_does_not_wait_for_an_asynchronous_listener_that_follows_the_key(stage: Stage) {
        let (node, held) = (stage.node("n1"), Calls::held());
        let _registration = node.follow(["k1"], &held).await;
        node.notify(&event("e1"), ["k1"]).await;
        held.began(1).await;
        node.notify(&event("e2"), ["k1"]).await;
        held.began(2).await;
        assert_eq!(held.ended(), 0);
        held.gate.add_permits(2);
        held.finished(2).await;
    }

    async fn dispatch_waits_for_a_synchronous_listener_that_follows_the_key(stage: Stage) {
        let (node, entered) = (stage.node("n1"), Calls::held());
        let gate = entered.gate.clone();
        let slow = Calls::new(move |_| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                Ok(())
            }
        })
        .at_once()
        .arc();
        let _registration = node.follow(["k1"], &slow).await;
        let other = node.clone();
        let mut dispatching = tokio::spawn(async move { other.notify(&event("e1"), ["k1"]).await });
        slow.began(1).await;
        let early = tokio::time::timeout(Duration::from_millis(100), &mut dispatching).await;
        assert!(early.is_err(), "dispatch returned before its listener had run");
        entered.gate.add_permits(1);
        dispatching.await.unwrap();
        assert_eq!(slow.ended(), 1);
    }

    async fn dispatch_succeeds_when_listeners_that_follow_the_key_fail(stage: Stage) {
        let node = stage.node("n1");
        let fails = || Calls::new(|_| async { Err(Failure::permanent("it broke")) });
        let (later, at_once) = (fails().arc(), fails().at_once().arc());
        let _registrations =
            [node.follow(["k1"], &later).await, node.follow(["k1"], &at_once).await];
        let events = vec![(event("e1"), keys(["k1"])), (event("e2"), keys(["k1"]))];
        node.try_dispatch(events).await.unwrap();
        for calls in [&later, &at_once] {
            calls.finished(2).await;
            calls.are(["e1", "e2"]);
        }
        stage.letters_are(0).await;
    }

    async fn removing_a_dead_letter_removes_the_one_that_was_stored_and_is_named(stage: Stage) {
        let (node, mut a, calls) = (stage.node("n1"), steady("a"), Calls::failing());
        a.retry.attempts = 0;
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        for id in ["e1", "e2"] {
            node.dispatch(&event(id)).await;
        }
        let letters = stage.letters_are(2).await;
        stage.drained(&a, consumer).await;
        assert!(stage.store.remove_dead_letter(letters[0].id).await.unwrap());
        assert!(!stage.store.remove_dead_letter(letters[0].id).await.unwrap());
        assert_eq!(stage.letters().await, letters[1..]);
    }

    async fn redelivering_a_group_removes_the_entries_that_were_redelivered(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let mut letters = Vec::new();
        for id in ["e1", "e2", "e3"] {
            letters.push(stage.give_up("a", &event(id)).await);
        }
        for letter in &letters {
            assert!(stage.store.dead_letter(letter.id).await.unwrap().is_some());
            node.redeliver(letter).await.unwrap();
            assert!(stage.store.dead_letter(letter.id).await.unwrap().is_none());
        }
        calls.finished(3).await;
        stage.drained(&a, consumer).await;
        calls.are(["e1", "e2", "e3"]);
    }
}

#[tokio::test]
async fn dispatching_with_keys_while_the_exchange_is_away_keeps_the_event_with_them() {
    let stage = Stage::rabbitmq().await;
    let (node, calls) = (stage.node("n1"), Calls::well());
    let _registration = node.follow(["k1"], &calls).await;
    let main = stage.layout.main(&bus());
    let path = format!("exchanges/{}/{main}", stage.host().name);
    stage.host().api(reqwest::Method::DELETE, &path, None).await;
    let outcome: Result<(), BatchError> =
        node.try_dispatch(vec![(event("e1"), keys(["k1"]))]).await;
    outcome.unwrap();
    let letter = stage.letters_are(1).await.remove(0);
    assert_eq!((letter.event_id.as_deref(), letter.keys), (Some("e1"), keys(["k1"])));
    stage.redeclare().await;
    let _healing = node.redispatch();
    stage.letters_are(0).await;
    calls.saw("e1").await;
    calls.are(["e1"]);
}

/// Publishes, as another program, bodies that are not events on a key that a node follows.
async fn survives(bodies: usize) {
    let stage = Stage::rabbitmq().await;
    let (here, there, calls) = (stage.node("n1"), stage.node("n2"), Calls::well());
    let _registration = there.follow(["k1"], &calls).await;
    let exchange = stage.layout.keys(&bus());
    stage.publish_raw(&exchange, "k1", &vec![&b"\xff not an event"[..]; bodies]).await;
    // From another node: only the copy that travels through the broker can reach it.
    for id in ["e1", "e2"] {
        here.notify(&event(id), ["k1"]).await;
    }
    calls.saw("e2").await;
    calls.are(["e1", "e2"]);
    assert_eq!(calls.resynchronised(), 0, "its connection was lost");
}

#[tokio::test]
async fn a_node_that_follows_a_key_survives_a_body_that_is_not_an_event() {
    survives(1).await;
}

#[tokio::test]
async fn a_node_that_follows_a_key_survives_a_hundred_bodies_that_are_no_events() {
    survives(100).await;
}
