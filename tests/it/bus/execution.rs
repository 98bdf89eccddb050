//! What a listener is told about its execution.

use crate::support::stage::{
    PATIENCE,
    calls::Calls,
    specs::{event, steady},
};
use hearken::domain::span::Span;
use std::time::{Duration, Instant};

both! {
    async fn a_listener_knows_its_attempt_and_since_when_the_event_fails(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::failing());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        let letter = stage.letters_are(1).await.remove(0);
        stage.drained(&a, consumer).await;
        let told: Vec<_> = calls.seen().into_iter().filter_map(|call| call.execution).collect();
        assert_eq!(told.iter().map(|told| told.attempt).collect::<Vec<_>>(), [0, 1, 2, 3]);
        assert_eq!(told[0].first_failed_at, None);
        let first = told[1].first_failed_at.expect("it failed before");
        for later in &told[2..] {
            let apart = (later.first_failed_at.expect("it failed before") - first).abs();
            assert!(apart < Duration::from_millis(10), "{apart}");
        }
        let apart = (letter.first_failed_at - first).abs();
        assert!(apart < Duration::from_millis(10), "{apart}");
        assert!(told.iter().all(|told| told.group == a.group && told.bus == a.bus));
    }

    async fn a_listener_knows_when_its_execution_is_given_up(stage: Stage) {
        let (node, mut a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        a.timeout = Span::from_secs(7);
        stage.add([&a]).await;
        let _consumer = stage.consume(&*node.bus, &a, &calls).await;
        let before = Instant::now();
        node.dispatch(&event("e1")).await;
        let call = calls.began(1).await.remove(0);
        let deadline = call.execution.unwrap().deadline;
        assert!(deadline >= before + Duration::from_secs(7));
        assert!(deadline <= call.at + Duration::from_secs(7));
    }

    async fn an_execution_is_cancelled_when_patience_is_over_and_not_before(stage: Stage) {
        let (node, a, held) = (stage.node("n1"), steady("a"), Calls::held());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &held).await;
        node.dispatch(&event("e1")).await;
        let cancelled = held.began(1).await.remove(0).execution.unwrap().cancelled;
        assert!(!cancelled.is_cancelled());
        let began = Instant::now();
        let patience = Duration::from_millis(200);
        let stopping = tokio::spawn(consumer.stop.stop(patience));
        tokio::time::timeout(PATIENCE, cancelled.cancelled()).await.expect("it is cancelled");
        assert!(began.elapsed() >= patience, "{:?}", began.elapsed());
        stopping.await.unwrap();
        assert_eq!(held.ended(), 0);
        stage.left_with(&a, 1).await;
    }

    async fn an_execution_that_ends_within_patience_is_not_cancelled(stage: Stage) {
        let (node, a, held) = (stage.node("n1"), steady("a"), Calls::held());
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &held).await;
        node.dispatch(&event("e1")).await;
        let execution = held.began(1).await.remove(0).execution.unwrap();
        let stopping = tokio::spawn(consumer.stop.stop(PATIENCE));
        held.gate.add_permits(1);
        stopping.await.unwrap();
        assert_eq!((held.ended(), execution.cancelled.is_cancelled()), (1, false));
        stage.left_with(&a, 0).await;
    }

    async fn the_first_execution_after_a_redelivery_is_a_first_one(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::well());
        stage.add([&a]).await;
        let _consumer = stage.consume(&*node.bus, &a, &calls).await;
        let letter = stage.give_up("a", &event("e1")).await;
        node.redeliver(&letter).await.unwrap();
        let told = calls.began(1).await.remove(0).execution.unwrap();
        assert_eq!((told.attempt, told.first_failed_at), (0, None));
    }
}
