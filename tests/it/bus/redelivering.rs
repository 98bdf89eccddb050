//! Dead letters on their way back to a group.

use crate::support::stage::{
    calls::{Calls, RecordedCall},
    specs::{event, noop, steady},
};
use hearken::domain::command::Pending;

both! {
    async fn what_is_redelivered_runs_once_in_its_group_alone(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        let (calls, other, follower) = (Calls::well(), Calls::well(), Calls::well());
        let _following = node.follow(["k1"], &follower).await;
        let on_a = stage.consume(&*node.bus, &a, &calls).await;
        let on_b = stage.consume(&*node.bus, &b, &other).await;
        let letter = stage.give_up("a", &event("e1")).await;
        node.redeliver(&letter).await.unwrap();
        calls.finished(1).await;
        stage.drained(&a, on_a).await;
        stage.drained(&b, on_b).await;
        node.notified(&node).await;
        calls.are(["e1"]);
        other.are([]);
        follower.are([]);
        stage.letters_are(0).await;
    }

    async fn what_is_redelivered_and_fails_again_has_all_its_attempts_and_a_new_dead_letter(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::failing());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        let first = stage.letters_are(1).await.remove(0);
        assert_eq!(calls.order().len(), 4);
        node.redeliver(&first).await.unwrap();
        let again = crate::support::wait::until("it is given up again", async || {
            stage.letters().await.into_iter().find(|letter| letter.id != first.id)
        })
        .await;
        stage.drained(&a, consumer).await;
        let attempts: Vec<u32> = calls.seen().iter().map(RecordedCall::attempt).collect();
        assert_eq!(attempts, [0, 1, 2, 3, 0, 1, 2, 3]);
        assert_eq!((again.previous, again.attempts), (Some(first.id), 4));
        assert_eq!((again.group.as_str(), again.event_id), ("a", first.event_id));
        stage.letters_are(1).await;
    }

    async fn what_is_redelivered_to_a_listener_without_retries_runs(stage: Stage) {
        let (node, mut a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        a.retry.attempts = 0;
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let letter = stage.give_up("a", &event("e1")).await;
        node.redeliver(&letter).await.unwrap();
        calls.finished(1).await;
        stage.drained(&a, consumer).await;
        calls.are(["e1"]);
        stage.letters_are(0).await;
    }

    async fn redelivering_to_a_group_that_is_not_configured_is_refused_and_nothing_is_lost(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        let never = stage.give_up("never", &event("e1")).await;
        node.redeliver(&never).await.unwrap_err();
        stage.add([&a]).await;
        stage.remove("a", Pending::Discard).await;
        let gone = stage.give_up("a", &event("e2")).await;
        node.redeliver(&gone).await.unwrap_err();
        let ids: Vec<_> = stage.letters_are(2).await.iter().map(|letter| letter.id).collect();
        assert_eq!(ids, [never.id, gone.id]);
    }

    async fn a_noop_event_that_is_redelivered_runs_nowhere(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        let letter = stage.give_up("a", &noop("nothing")).await;
        node.redeliver(&letter).await.unwrap();
        node.dispatch(&event("e1")).await;
        calls.finished(1).await;
        stage.drained(&a, consumer).await;
        calls.are(["e1"]);
        stage.letters_are(0).await;
    }
}
