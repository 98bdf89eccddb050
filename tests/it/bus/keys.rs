//! Registration keys: a listener that follows one is told of its events, at most once.

use crate::support::stage::{
    calls::Calls,
    specs::{event, keys, noop},
};
use hearken::bus::Failure;

both! {
    async fn no_more_than_ten_executions_of_one_listener_run_at_once_and_all_run(stage: Stage) {
        let (node, held) = (stage.node("n1"), Calls::held());
        let _registration = node.follow(["k1"], &held).await;
        for n in 0..50 {
            node.notify(&event(&format!("e{n}")), ["k1"]).await;
        }
        held.began(10).await;
        held.gate.add_permits(50);
        held.finished(50).await;
        assert_eq!((held.most(), held.counts().len()), (10, 50));
    }

    async fn listeners_that_hold_an_event_all_have_it_at_the_same_time(stage: Stage) {
        let node = stage.node("n1");
        let all = [Calls::held(), Calls::held(), Calls::held()];
        let mut registrations = Vec::new();
        for calls in &all {
            registrations.push(node.follow(["k1"], calls).await);
        }
        node.notify(&event("e1"), ["k1"]).await;
        for calls in &all {
            calls.began(1).await;
        }
        assert!(all.iter().all(|calls| calls.ended() == 0));
        for calls in &all {
            calls.gate.add_permits(1);
            calls.finished(1).await;
        }
    }

    async fn noop_events_and_those_that_do_not_concern_it_do_not_reach_a_listener(stage: Stage) {
        let node = stage.node("n1");
        let choosy = || Calls::new(|_| async { Ok(()) }).handling(|event| event.kind == "Added");
        let (later, at_once) = (choosy().arc(), choosy().at_once().arc());
        let _first = node.follow(["k1"], &later).await;
        let _second = node.follow(["k1"], &at_once).await;
        let mut other = event("other");
        other.kind = "Removed".into();
        node.notify(&noop("nothing"), ["k1"]).await;
        node.notify(&other, ["k1"]).await;
        node.notify(&event("e1"), ["k1"]).await;
        later.saw("e1").await;
        later.are(["e1"]);
        at_once.are(["e1"]);
    }

    async fn an_event_without_the_key_does_not_reach_a_follower_of_the_key(stage: Stage) {
        let (node, calls) = (stage.node("n1"), Calls::well());
        let _registration = node.follow(["k1"], &calls).await;
        node.notify(&event("bare"), []).await;
        node.notify(&event("other"), ["k2", "k"]).await;
        node.notify(&event("e1"), ["k1"]).await;
        calls.saw("e1").await;
        calls.are(["e1"]);
    }

    async fn a_synchronous_listener_has_run_when_dispatch_returns_and_runs_once(stage: Stage) {
        let node = stage.node("n1");
        let (at_once, later) = (Calls::well_at_once(), Calls::well());
        let _first = node.follow(["k1"], &at_once).await;
        let _second = node.follow(["k1"], &later).await;
        for id in ["e1", "e2"] {
            let before = at_once.ended();
            node.notify(&event(id), ["k1"]).await;
            assert_eq!(at_once.ended(), before + 1);
        }
        // The copy that comes back from the broker is for the others.
        later.saw("e2").await;
        at_once.are(["e1", "e2"]);
        later.are(["e1", "e2"]);
        assert_eq!(at_once.seen()[0].keys, keys(["k1"]));
    }

    async fn each_key_has_its_own_listeners(stage: Stage) {
        let node = stage.node("n1");
        let (one, two, other) = (Calls::well(), Calls::well(), Calls::well());
        let _registrations = [
            node.follow(["k1"], &one).await,
            node.follow(["k1"], &two).await,
            node.follow(["k2"], &other).await,
        ];
        node.notify(&event("e1"), ["k1"]).await;
        node.notify(&event("e2"), ["k2"]).await;
        for (calls, id) in [(&one, "e1"), (&two, "e1"), (&other, "e2")] {
            calls.saw(id).await;
            calls.are([id]);
        }
    }

    async fn a_listener_registered_twice_on_a_key_is_called_once_and_gone_with_the_first(stage: Stage) {
        let (node, calls, fence) = (stage.node("n1"), Calls::well(), Calls::well());
        let first = node.follow(["k1"], &calls).await;
        let second = node.follow(["k1"], &calls).await;
        let _fence = node.follow(["k1"], &fence).await;
        node.notify(&event("e1"), ["k1"]).await;
        calls.saw("e1").await;
        fence.saw("e1").await;
        drop(first);
        node.notify(&event("e2"), ["k1"]).await;
        fence.saw("e2").await;
        drop(second);
        node.notify(&event("e3"), ["k1"]).await;
        fence.saw("e3").await;
        calls.are(["e1"]);
    }

    async fn a_listener_that_stops_following_one_key_still_follows_the_other(stage: Stage) {
        let (node, calls, fence) = (stage.node("n1"), Calls::well(), Calls::well());
        let first = node.follow(["k1"], &calls).await;
        let _second = node.follow(["k2"], &calls).await;
        let _fence = node.follow(["k1"], &fence).await;
        drop(first);
        node.notify(&event("e1"), ["k1"]).await;
        fence.saw("e1").await;
        node.notify(&event("e2"), ["k2"]).await;
        calls.saw("e2").await;
        calls.are(["e2"]);
    }

    async fn a_listener_on_two_keys_is_called_once_and_told_which_it_follows(stage: Stage) {
        let node = stage.node("n1");
        let (both, one, at_once) = (Calls::well(), Calls::well(), Calls::well_at_once());
        let _registrations = [
            node.follow(["k1", "k2"], &both).await,
            node.follow(["k1"], &one).await,
            node.follow(["k1", "k2"], &at_once).await,
        ];
        node.notify(&event("e1"), ["k1", "k2", "k3"]).await;
        node.notify(&event("e2"), ["k2"]).await;
        both.saw("e2").await;
        one.saw("e1").await;
        node.notified(&node).await;
        for calls in [&both, &at_once] {
            calls.are(["e1", "e2"]);
            let told: Vec<_> = calls.seen().into_iter().map(|call| call.keys).collect();
            assert_eq!(told, [keys(["k1", "k2"]), keys(["k2"])]);
        }
        one.are(["e1"]);
        assert_eq!(one.seen()[0].keys, keys(["k1"]));
    }

    async fn a_follower_is_not_told_of_events_from_before_it_followed(stage: Stage) {
        let (node, early, late) = (stage.node("n1"), Calls::well(), Calls::well());
        let _early = node.follow(["k1"], &early).await;
        node.notify(&event("past"), ["k1"]).await;
        early.saw("past").await;
        let _late = node.follow(["k1"], &late).await;
        node.notify(&event("present"), ["k1"]).await;
        late.saw("present").await;
        late.are(["present"]);
    }

    async fn a_listener_that_fails_or_panics_gets_the_next_event_and_harms_no_other(stage: Stage) {
        let node = stage.node("n1");
        let rule = |id: String| async move {
            match id.as_str() {
                "e1" => Err(Failure::new("it broke")),
                "e2" => panic!("on purpose"),
                _ => Ok(()),
            }
        };
        let bad = Calls::new(move |call| rule(call.event.id)).arc();
        let bad_at_once = Calls::new(move |call| rule(call.event.id)).at_once().arc();
        let good = Calls::well();
        let _registrations = [
            node.follow(["k1"], &bad).await,
            node.follow(["k1"], &bad_at_once).await,
            node.follow(["k1"], &good).await,
        ];
        for id in ["e1", "e2", "e3"] {
            node.notify(&event(id), ["k1"]).await;
        }
        for calls in [&bad, &bad_at_once, &good] {
            calls.saw("e3").await;
            calls.are(["e1", "e2", "e3"]);
        }
    }
}
