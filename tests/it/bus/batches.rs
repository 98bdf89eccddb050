//! Batches: several events in one call, each with a fate of its own.

use crate::support::stage::{
    Stage,
    calls::Calls,
    specs::{bus, event, keys, noop, other_bus, steady},
    store,
};
use hearken::{
    bus::Failure,
    dispatch::{BatchError, NoSuchBus},
    domain::name::{BusName, RegistrationKey},
};
use std::collections::{BTreeMap, BTreeSet};

/// Events with one key each.
fn batch<const N: usize>(
    of: [(&str, &str); N],
) -> Vec<(hearken::bus::event::Event, BTreeSet<RegistrationKey>)> {
    of.map(|(id, key)| (event(id), keys([key]))).into()
}

both! {
    async fn only_the_events_of_a_batch_that_failed_run_again(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        stage.add([&a]).await;
        let calls = Calls::new(|call| async move {
            match (call.event.id.as_str(), call.attempt()) {
                ("e2", 0..=1) => Err(Failure::new("not yet")),
                ("e3", _) => Err(Failure::permanent("never")),
                _ => Ok(()),
            }
        })
        .arc();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let events = ["e1", "e2", "e3", "e4"].map(|id| (event(id), BTreeSet::new()));
        node.try_dispatch(events.into()).await.unwrap();
        calls.finished(6).await;
        let letters = stage.letters_are(1).await;
        stage.drained(&a, consumer).await;
        let expected = [("e1", 1), ("e2", 3), ("e3", 1), ("e4", 1)];
        let expected: BTreeMap<_, _> = expected.map(|(id, n)| (id.to_owned(), n)).into();
        assert_eq!(calls.counts(), expected);
        assert_eq!(letters[0].event_id.as_deref(), Some("e3"));
    }

    async fn the_keys_of_one_event_of_a_batch_are_not_those_of_another(stage: Stage) {
        let (here, there) = (stage.node("n1"), stage.node("n2"));
        let (near, far, at_once, two) =
            (Calls::well(), Calls::well(), Calls::well_at_once(), Calls::well());
        let _registrations = [
            here.follow(["k1"], &near).await,
            there.follow(["k1"], &far).await,
            here.follow(["k1"], &at_once).await,
            there.follow(["k2"], &two).await,
        ];
        here.try_dispatch(batch([("e1", "k1"), ("e2", "k2"), ("e3", "k1")])).await.unwrap();
        here.notified(&here).await;
        here.notified(&there).await;
        for calls in [&near, &far, &at_once] {
            calls.finished(2).await;
            calls.are(["e1", "e3"]);
            assert!(calls.seen().iter().all(|call| call.keys == keys(["k1"])));
        }
        two.finished(1).await;
        two.are(["e2"]);
    }

    async fn each_event_of_a_batch_that_cannot_be_published_is_kept_with_its_own_keys(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        stage.add([&a]).await;
        stage.unbind(&a).await;
        node.try_dispatch(batch([("e1", "k1"), ("e2", "k2"), ("e3", "k3")])).await.unwrap();
        let letters = stage.letters_are(3).await;
        let kept: Vec<_> = letters.iter().map(|l| (l.event_id.as_deref().unwrap(), l.keys.clone())).collect();
        assert_eq!(kept, [("e1", keys(["k1"])), ("e2", keys(["k2"])), ("e3", keys(["k3"]))]);
    }

    async fn the_noop_events_of_a_batch_reach_no_listener_and_are_kept_nowhere(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        let (group, follower, at_once) = (Calls::well(), Calls::well(), Calls::well_at_once());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &group).await;
        let _first = node.follow(["k1"], &follower).await;
        let _second = node.follow(["k1"], &at_once).await;
        let mixed = || vec![(noop("nothing"), keys(["k1"])), (event("e1"), keys(["k1"]))];
        node.try_dispatch(mixed()).await.unwrap();
        node.notified(&node).await;
        for calls in [&follower, &at_once] {
            calls.saw("e1").await;
            calls.are(["e1"]);
        }
        group.finished(2).await;
        stage.drained(&a, consumer).await;
        // What tells that the notifications are through is an event too.
        group.are(["e1", "fence"]);
        stage.unbind(&a).await;
        node.try_dispatch(mixed()).await.unwrap();
        let letters = stage.letters_are(1).await;
        assert_eq!(letters[0].event_id.as_deref(), Some("e1"));
    }

    async fn a_batch_that_is_taken_in_part_says_which_events_are_safe(stage: Stage) {
        let (_folder, closed) = store().await;
        closed.close().await;
        let (node, a) = (stage.node_keeping("n1", &closed), steady("a"));
        stage.add([&a]).await;
        stage.unbind(&a).await;
        // A noop event is safe, because it is delivered to no listener anyway.
        let events = vec![(event("e1"), keys([])), (noop("nothing"), keys([]))];
        let refused = node.try_dispatch(events).await.unwrap_err();
        let BatchError::NotAccepted { accepted, failed } = &refused else { panic!("{refused:?}") };
        let failed: Vec<_> = failed.iter().map(|event| event.id.as_str()).collect();
        assert_eq!((accepted.as_slice(), failed.as_slice()), (&["nothing".to_owned()][..], &["e1"][..]));
    }

    async fn a_batch_for_a_bus_that_there_is_not_is_refused_whole(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let nowhere = BusName::parse("nowhere").unwrap();
        let refused = node.dispatcher.dispatch(&nowhere, batch([("e1", "k1")])).await.unwrap_err();
        assert!(matches!(&refused, BatchError::NoSuchBus(NoSuchBus(bus)) if *bus == nowhere), "{refused:?}");
        for bus in [bus(), other_bus()] {
            node.dispatcher.dispatch(&bus, Vec::new()).await.unwrap();
        }
        stage.drained(&a, consumer).await;
        calls.are([]);
        stage.letters_are(0).await;
    }
}

#[tokio::test]
async fn a_program_bound_to_the_exchange_gets_each_event_of_a_batch_but_no_noop_event() {
    let stage = Stage::rabbitmq().await;
    let node = stage.node("n1");
    let foreign = stage.foreign_queue(&stage.layout.main(&bus()), "").await;
    let events =
        vec![(event("e1"), keys(["k1"])), (noop("nothing"), keys(["k1"])), (event("e2"), keys([]))];
    node.try_dispatch(events).await.unwrap();
    let taken = [foreign.take().await, foreign.take().await];
    let ids = taken.map(|taken| {
        let properties = &taken.delivery.properties;
        let form = properties.content_type().as_ref().map(|form| form.as_str().to_owned());
        assert_eq!(taken.delivery.routing_key.as_str(), "");
        hearken::bus::codec::decode(form.as_deref(), &taken.delivery.data).unwrap().id
    });
    assert_eq!(ids, ["e1", "e2"]);
    assert_eq!(foreign.left().await, 0);
}
