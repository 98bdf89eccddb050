//! Events that cannot be published: kept, and published once that works.

use crate::support::{
    proxy::{Proxy, Wire, port_of},
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        specs::{bus, event, keys, steady},
        store,
    },
    wait,
};
use hearken::dispatch::BatchError;
use reqwest::Method;
use std::time::Instant;

both! {
    async fn an_event_that_reaches_no_queue_is_kept_once_with_its_keys_and_dispatch_succeeds(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        stage.unbind(&a).await;
        stage.unbind(&b).await;
        node.notify(&event("e1"), ["k1", "k2"]).await;
        let letter = stage.letters_are(1).await.remove(0);
        assert_eq!((letter.group.as_str(), &letter.bus), ("dispatch-failure", &bus()));
        assert_eq!((letter.event_id.as_deref(), &letter.keys), (Some("e1"), &keys(["k1", "k2"])));
        assert_eq!((letter.user.as_deref(), letter.attempts), (Some("anna"), 1));
        assert!(letter.cause.contains("routes to none"), "{}", letter.cause);
        assert_eq!(letter.destination(), None);
    }

    async fn a_bus_without_listeners_keeps_nothing(stage: Stage) {
        let (node, calls) = (stage.node("n1"), Calls::well());
        let _registration = node.follow(["k1"], &calls).await;
        node.notify(&event("e1"), ["k1"]).await;
        calls.saw("e1").await;
        stage.letters_are(0).await;
    }

    async fn each_failed_dispatch_is_an_entry_in_its_order_also_of_the_same_event(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        stage.add([&a]).await;
        stage.unbind(&a).await;
        for id in ["e2", "e1", "e2"] {
            node.dispatch(&event(id)).await;
        }
        let letters = stage.letters_are(3).await;
        let ids: Vec<_> = letters.iter().map(|letter| letter.event_id.as_deref().unwrap()).collect();
        assert_eq!(ids, ["e2", "e1", "e2"]);
    }

    async fn an_event_that_neither_the_bus_nor_the_store_takes_stays_its_callers(stage: Stage) {
        let (_folder, closed) = store().await;
        closed.close().await;
        let (node, a) = (stage.node_keeping("n1", &closed), steady("a"));
        stage.add([&a]).await;
        stage.unbind(&a).await;
        let refused = node.try_dispatch(vec![(event("e1"), keys([]))]).await.unwrap_err();
        let BatchError::NotAccepted { accepted, failed } = &refused else { panic!("{refused:?}") };
        assert!(accepted.is_empty() && failed[0].id == "e1", "{refused:?}");
        let cause = failed[0].error.to_string();
        assert!(cause.contains("routes to none") && cause.contains("database"), "{cause}");
    }

    async fn what_was_kept_goes_by_itself_to_every_group_and_key_once_that_works(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        let (first, second, follower) = (Calls::well(), Calls::well(), Calls::well());
        let on_a = stage.consume(&*node.bus, &a, &first).await;
        let on_b = stage.consume(&*node.bus, &b, &second).await;
        let _registration = node.follow(["k1"], &follower).await;
        stage.unbind(&a).await;
        stage.unbind(&b).await;
        for id in ["e1", "e2", "e3"] {
            node.notify(&event(id), ["k1"]).await;
        }
        stage.letters_are(3).await;
        follower.are([]);
        stage.converge().await;
        let _healing = node.redispatch();
        stage.letters_are(0).await;
        for (listener, consumer, calls) in [(&a, on_a, first), (&b, on_b, second)] {
            calls.finished(3).await;
            stage.drained(listener, consumer).await;
            calls.are(["e1", "e2", "e3"]);
        }
        follower.finished(3).await;
        assert_eq!(follower.order(), ["e1", "e2", "e3"]);
    }

    async fn what_was_kept_can_be_redelivered_by_hand_to_every_group_and_key(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        let (first, second, follower) = (Calls::well(), Calls::well(), Calls::well());
        let on_a = stage.consume(&*node.bus, &a, &first).await;
        let on_b = stage.consume(&*node.bus, &b, &second).await;
        let _registration = node.follow(["k1"], &follower).await;
        stage.unbind(&a).await;
        stage.unbind(&b).await;
        node.notify(&event("e1"), ["k1"]).await;
        let letter = stage.letters_are(1).await.remove(0);
        stage.converge().await;
        node.redeliver(&letter).await.unwrap();
        for (listener, consumer, calls) in [(&a, on_a, first), (&b, on_b, second)] {
            calls.finished(1).await;
            stage.drained(listener, consumer).await;
            calls.are(["e1"]);
        }
        follower.finished(1).await;
        follower.are(["e1"]);
        stage.letters_are(0).await;
    }

    async fn redelivering_while_it_still_cannot_be_published_leaves_the_one_entry(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        stage.add([&a]).await;
        stage.unbind(&a).await;
        node.dispatch(&event("e1")).await;
        let letter = stage.letters_are(1).await.remove(0);
        node.redeliver(&letter).await.unwrap_err();
        let left = stage.letters().await;
        assert_eq!(left.iter().map(|letter| letter.id).collect::<Vec<_>>(), [letter.id]);
    }
}

#[tokio::test]
async fn an_event_that_a_bound_queue_of_another_group_takes_is_not_kept() {
    let stage = Stage::rabbitmq().await;
    let (node, a, b, calls) = (stage.node("n1"), steady("a"), steady("b"), Calls::well());
    stage.add([&a, &b]).await;
    let consumer = stage.consume(&*node.bus, &b, &calls).await;
    stage.unbind(&a).await;
    node.dispatch(&event("e1")).await;
    calls.finished(1).await;
    stage.drained(&b, consumer).await;
    stage.letters_are(0).await;
}

#[tokio::test]
async fn an_event_for_an_exchange_that_was_deleted_is_kept_and_goes_out_when_it_is_back() {
    let stage = Stage::rabbitmq().await;
    let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
    stage.add([&a]).await;
    let consumer = stage.consume(&*node.bus, &a, &calls).await;
    let main = stage.layout.main(&bus());
    stage
        .host()
        .api(Method::DELETE, &format!("exchanges/{}/{main}", stage.host().name), None)
        .await;
    node.dispatch(&event("e1")).await;
    let letter = stage.letters_are(1).await.remove(0);
    assert!(letter.cause.contains(&main), "{}", letter.cause);
    stage.redeclare().await;
    let _healing = node.redispatch();
    calls.finished(1).await;
    stage.drained(&a, consumer).await;
    calls.are(["e1"]);
    stage.letters_are(0).await;
}

#[tokio::test]
async fn a_notification_that_cannot_be_published_fails_no_dispatch_and_keeps_no_event() {
    let stage = Stage::rabbitmq().await;
    let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
    stage.add([&a]).await;
    let consumer = stage.consume(&*node.bus, &a, &calls).await;
    let exchange = stage.layout.keys(&bus());
    let path = format!("exchanges/{}/{exchange}", stage.host().name);
    stage.host().api(Method::DELETE, &path, None).await;
    let began = Instant::now();
    node.notify(&event("e1"), ["k1"]).await;
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    calls.finished(1).await;
    stage.drained(&a, consumer).await;
    calls.are(["e1"]);
    stage.letters_are(0).await;
}

#[tokio::test]
async fn events_kept_while_the_broker_is_out_of_reach_go_out_later_with_their_keys() {
    let stage = Stage::rabbitmq().await;
    let proxy = Proxy::before(port_of(&stage.host().amqp)).await;
    let through = proxy.through(&stage.host().amqp);
    let node = stage.node_at("n1", &through, &stage.store);
    let (there, a) = (stage.node("n2"), steady("a"));
    stage.add([&a]).await;
    let (calls, follower) = (Calls::well(), Calls::well());
    let consumer = stage.consume(&*there.bus, &a, &calls).await;
    let _registration = there.follow(["k1"], &follower).await;
    node.notify(&event("before"), ["k1"]).await;
    calls.finished(1).await;
    proxy.set(Wire::Cut);
    node.notify(&event("meanwhile"), ["k1"]).await;
    let letter = stage.letters_are(1).await.remove(0);
    assert_eq!((letter.event_id.as_deref(), &letter.keys), (Some("meanwhile"), &keys(["k1"])));
    let _healing = node.redispatch();
    proxy.set(Wire::Up);
    stage.letters_are(0).await;
    wait::until("events are published again", async || {
        node.try_dispatch(vec![(event("after"), keys(["k1"]))]).await.ok()
    })
    .await;
    for calls in [&calls, &follower] {
        calls.saw("meanwhile").await;
        calls.saw("after").await;
    }
    stage.drained(&a, consumer).await;
    stage.letters_are(0).await;
}
