//! Groups: every group gets every event, once.

use crate::support::stage::{
    calls::Calls,
    specs::{event, noop, steady},
};
use hearken::{
    bus::Failure,
    domain::{
        command::{Command, Pending},
        name::GroupName,
        roster::Refusal,
    },
    roster::ExecuteError,
};
use std::collections::BTreeMap;

both! {
    async fn no_more_events_run_at_once_than_the_listener_wants_and_all_run(stage: Stage) {
        let (node, a, held) = (stage.node("n1"), steady("a"), Calls::held());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &held).await;
        for n in 0..50 {
            node.dispatch(&event(&format!("e{n}"))).await;
        }
        held.began(10).await;
        held.gate.add_permits(50);
        held.finished(50).await;
        stage.drained(&a, consumer).await;
        assert_eq!((held.most(), held.counts().len(), held.ended()), (10, 50, 50));
    }

    async fn groups_that_hold_an_event_all_have_it_at_the_same_time(stage: Stage) {
        let node = stage.node("n1");
        let (a, b, c) = (steady("a"), steady("b"), steady("c"));
        stage.add([&a, &b, &c]).await;
        let all = [Calls::held(), Calls::held(), Calls::held()];
        let mut consumers = Vec::new();
        for (listener, calls) in [&a, &b, &c].into_iter().zip(&all) {
            consumers.push(stage.consume(&*node.bus, listener, calls).await);
        }
        node.dispatch(&event("e1")).await;
        for calls in &all {
            calls.began(1).await;
        }
        // None has ended while all of them run.
        assert!(all.iter().all(|calls| calls.ended() == 0));
        for calls in &all {
            calls.gate.add_permits(1);
            calls.finished(1).await;
        }
    }

    async fn a_listener_that_dispatches_while_it_runs_is_not_held_up(stage: Stage) {
        let (node, mut a) = (stage.node("n1"), steady("a"));
        a.concurrency = 1;
        stage.add([&a]).await;
        let inner = node.clone();
        let calls = Calls::new(move |call| {
            let node = inner.clone();
            async move {
                if call.event.id == "outer" {
                    node.dispatch(&event("inner")).await;
                }
                Ok(())
            }
        })
        .arc();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("outer")).await;
        calls.finished(2).await;
        stage.drained(&a, consumer).await;
        assert_eq!(calls.order(), ["outer", "inner"]);
    }

    async fn an_event_from_before_a_group_was_added_never_reaches_it(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&b]).await;
        node.dispatch(&event("past")).await;
        stage.add([&a]).await;
        let (first, second) = (Calls::well(), Calls::well());
        let on_a = stage.consume(&*node.bus, &a, &first).await;
        let on_b = stage.consume(&*node.bus, &b, &second).await;
        node.dispatch(&event("present")).await;
        first.finished(1).await;
        second.finished(2).await;
        stage.drained(&a, on_a).await;
        stage.drained(&b, on_b).await;
        first.are(["present"]);
        second.are(["past", "present"]);
    }

    async fn an_event_runs_once_with_keys_and_without(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("bare")).await;
        node.notify(&event("keyed"), ["k1", "k2"]).await;
        calls.finished(2).await;
        stage.drained(&a, consumer).await;
        calls.are(["bare", "keyed"]);
        let call = &calls.seen()[0];
        let execution = call.execution.as_ref().unwrap();
        assert_eq!((execution.group.as_str(), execution.bus.as_str()), ("a", "mailboxEvent"));
        assert_eq!((call.event.kind.as_str(), call.event.user.as_deref()), ("Added", Some("anna")));
    }

    async fn a_noop_event_reaches_no_group(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&noop("nothing")).await;
        node.dispatch(&event("something")).await;
        calls.finished(1).await;
        stage.drained(&a, consumer).await;
        calls.are(["something"]);
    }

    async fn dispatching_to_a_group_that_fails_succeeds_and_other_groups_get_the_event(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        let (fails, works) = (Calls::failing(), Calls::well());
        let _on_a = stage.consume(&*node.bus, &a, &fails).await;
        let on_b = stage.consume(&*node.bus, &b, &works).await;
        node.dispatch(&event("e1")).await;
        fails.began(1).await;
        works.finished(1).await;
        stage.drained(&b, on_b).await;
        works.are(["e1"]);
    }

    async fn dispatch_returns_while_groups_still_run(stage: Stage) {
        let (node, a, held) = (stage.node("n1"), steady("a"), Calls::held());
        stage.add([&a]).await;
        let _consumer = stage.consume(&*node.bus, &a, &held).await;
        node.dispatch(&event("e1")).await;
        held.began(1).await;
        node.dispatch(&event("e2")).await;
        assert_eq!(held.ended(), 0);
        held.gate.add_permits(2);
        held.finished(2).await;
    }

    async fn two_groups_of_one_class_each_get_each_event_once(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        assert_eq!(a.class, b.class);
        stage.add([&a, &b]).await;
        let (first, second) = (Calls::well(), Calls::well());
        let on_a = stage.consume(&*node.bus, &a, &first).await;
        let on_b = stage.consume(&*node.bus, &b, &second).await;
        for id in ["e1", "e2", "e3"] {
            node.dispatch(&event(id)).await;
        }
        for (listener, consumer, calls) in [(&a, on_a, first), (&b, on_b, second)] {
            calls.finished(3).await;
            stage.drained(listener, consumer).await;
            calls.are(["e1", "e2", "e3"]);
        }
    }

    async fn a_removed_group_is_not_called_and_the_others_are(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        let (gone, stays) = (Calls::well(), Calls::well());
        let _on_a = stage.consume(&*node.bus, &a, &gone).await;
        let on_b = stage.consume(&*node.bus, &b, &stays).await;
        // Its consumer is still there: no event comes to it any more all the same.
        stage.remove("a", Pending::Keep).await;
        node.dispatch(&event("e1")).await;
        stays.finished(1).await;
        stage.drained(&b, on_b).await;
        stays.are(["e1"]);
        gone.are([]);
    }

    async fn a_group_in_use_cannot_be_added_again(stage: Stage) {
        let a = steady("a");
        stage.add([&a]).await;
        let refused = stage.command(Command::AddListener(a)).await.unwrap_err();
        let in_use = matches!(&refused, ExecuteError::Refused(Refusal::GroupInUse { group, .. })
            if group.as_str() == "a");
        assert!(in_use, "{refused:?}");
        assert!(refused.to_string().contains('a'), "{refused}");
    }

    async fn a_removed_group_can_be_added_again_and_gets_events(stage: Stage) {
        for pending in [Pending::Keep, Pending::Discard] {
            let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
            stage.add([&a]).await;
            stage.remove("a", pending).await;
            stage.add([&a]).await;
            let consumer = stage.consume(&*node.bus, &a, &calls).await;
            node.dispatch(&event("e1")).await;
            calls.finished(1).await;
            stage.drained(&a, consumer).await;
            calls.are(["e1"]);
            stage.remove("a", pending).await;
        }
    }

    async fn removing_a_group_that_is_gone_says_that_it_is_not_configured(stage: Stage) {
        stage.add([&steady("a")]).await;
        stage.remove("a", Pending::Keep).await;
        let group = GroupName::parse("a").unwrap();
        let again = Command::RemoveListener { group, pending: Pending::Keep };
        let refused = stage.command(again).await.unwrap_err();
        let gone = matches!(refused, ExecuteError::Refused(Refusal::NotConfigured { .. }));
        assert!(gone, "{refused:?}");
    }

    async fn an_event_that_always_fails_does_not_stop_its_group(stage: Stage) {
        let (node, mut a) = (stage.node("n1"), steady("a"));
        a.concurrency = 1;
        stage.add([&a]).await;
        let calls = Calls::new(|call| async move {
            if call.event.id == "poison" { Err(Failure::new("never")) } else { Ok(()) }
        })
        .arc();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        for id in ["poison", "e1", "e2"] {
            node.dispatch(&event(id)).await;
        }
        let letters = stage.letters_are(1).await;
        calls.saw("e2").await;
        stage.drained(&a, consumer).await;
        let expected = [("e1", 1), ("e2", 1), ("poison", 4)];
        let expected: BTreeMap<_, _> = expected.map(|(id, n)| (id.to_owned(), n)).into();
        assert_eq!(calls.counts(), expected);
        assert_eq!(letters[0].event_id.as_deref(), Some("poison"));
        // The others did not wait for its retries.
        let order = calls.order();
        let place = |id: &str| order.iter().position(|seen| seen == id);
        assert!(place("e2") < order.iter().rposition(|seen| seen == "poison"), "{order:?}");
    }
}
