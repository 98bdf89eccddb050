//! Listeners that fail: retries, then a dead letter.

use crate::support::stage::{
    calls::{Calls, RecordedCall},
    specs::{bus, event, steady},
};
use hearken::{
    bus::{Failure, codec::decode},
    domain::span::Span,
};
use std::time::{Duration, Instant};

both! {
    async fn a_key_listener_that_fails_is_not_called_again_and_leaves_no_dead_letter(stage: Stage) {
        let node = stage.node("n1");
        let calls = Calls::failing();
        let _registration = node.follow(["k1"], &calls).await;
        node.notify(&event("e1"), ["k1"]).await;
        node.notify(&event("e2"), ["k1"]).await;
        calls.finished(2).await;
        node.notified(&node).await;
        assert_eq!(calls.order(), ["e1", "e2"]);
        stage.letters_are(0).await;
    }

    async fn a_group_that_fails_fewer_times_than_it_has_retries_succeeds_once(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::failing_at_first(2));
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        calls.finished(3).await;
        stage.drained(&a, consumer).await;
        assert_eq!(calls.seen().iter().map(RecordedCall::attempt).collect::<Vec<_>>(), [0, 1, 2]);
        stage.letters_are(0).await;
    }

    async fn a_group_that_succeeds_with_its_last_retry_leaves_no_dead_letter(stage: Stage) {
        let (node, a, calls) = (stage.node("n1"), steady("a"), Calls::failing_at_first(3));
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        calls.finished(4).await;
        stage.drained(&a, consumer).await;
        assert_eq!(calls.order().len(), 4);
        stage.letters_are(0).await;
    }

    async fn an_event_whose_retries_are_used_up_becomes_a_dead_letter_that_says_all(stage: Stage) {
        let (node, a, b) = (stage.node("n1"), steady("a"), steady("b"));
        stage.add([&a, &b]).await;
        let calls = Calls::new(|call| async move {
            match call.event.id.as_str() {
                "bad" => Err(Failure::new(format!("no luck with {}", call.attempt()))),
                _ => Ok(()),
            }
        })
        .arc();
        let before = time::OffsetDateTime::now_utc() - Duration::from_secs(1);
        let (other, began) = (Calls::well(), Instant::now());
        let on_a = stage.consume(&*node.bus, &a, &calls).await;
        let on_b = stage.consume(&*node.bus, &b, &other).await;
        for id in ["bad", "good"] {
            node.dispatch(&event(id)).await;
        }
        let letters = stage.letters_are(1).await;
        let took = began.elapsed();
        stage.drained(&a, on_a).await;
        stage.drained(&b, on_b).await;
        let letter = &letters[0];
        assert_eq!((letter.group.as_str(), &letter.bus), ("a", &bus()));
        assert_eq!((letter.event_id.as_deref(), letter.attempts), (Some("bad"), 4));
        assert_eq!((letter.event_type.as_deref(), letter.user.as_deref()), (Some("Added"), Some("anna")));
        assert!(letter.cause.contains("no luck with 3"), "{}", letter.cause);
        assert_eq!((letter.previous, &letter.origin), (None, &None));
        let apart = letter.last_failed_at - letter.first_failed_at;
        assert!(apart >= Duration::from_millis(300) && apart <= took, "{apart} of {took:?}");
        assert!(letter.first_failed_at >= before, "{letter:?}");
        let (_, body) = stage.store.dead_letter(letter.id).await.unwrap().unwrap();
        let kept = decode(letter.content_type.as_deref(), &body).unwrap();
        assert_eq!((kept.id.as_str(), kept.source.as_str()), ("bad", "urn:test"));
        // Executed once and retried three times, and the other event once.
        assert_eq!((calls.counts()["bad"], calls.counts()["good"]), (4, 1));
        assert_eq!(other.order().len(), 2);
    }

    async fn a_listener_without_retries_gives_up_after_one_execution(stage: Stage) {
        let (node, mut a, calls) = (stage.node("n1"), steady("a"), Calls::failing());
        a.retry.attempts = 0;
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        let letters = stage.letters_are(1).await;
        stage.drained(&a, consumer).await;
        assert_eq!((calls.order().len(), letters[0].attempts), (1, 1));
    }

    async fn pauses_before_retries_grow_up_to_the_longest(stage: Stage) {
        let (node, mut a, calls) = (stage.node("n1"), steady("a"), Calls::failing_at_first(3));
        a.retry.max = Span::from_millis(200);
        stage.add([&a]).await;
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        calls.finished(4).await;
        stage.drained(&a, consumer).await;
        let seen = calls.seen();
        for (pair, millis) in seen.windows(2).zip([100, 200, 200]) {
            let pause = pair[1].at - pair[0].at;
            assert!(pause >= Duration::from_millis(millis), "{pause:?} instead of {millis} ms");
            assert!(pause < Duration::from_secs(5), "{pause:?} instead of {millis} ms");
        }
    }

    async fn a_listener_that_dispatches_in_a_retry_succeeds(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        stage.add([&a]).await;
        let inner = node.clone();
        let calls = Calls::new(move |call| {
            let node = inner.clone();
            async move {
                match (call.event.id.as_str(), call.attempt()) {
                    ("outer", 0) => return Err(Failure::new("not yet")),
                    ("outer", _) => node.dispatch(&event("inner")).await,
                    _ => {}
                }
                Ok(())
            }
        })
        .arc();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("outer")).await;
        calls.finished(3).await;
        stage.drained(&a, consumer).await;
        assert_eq!(calls.order(), ["outer", "outer", "inner"]);
        stage.letters_are(0).await;
    }

    async fn a_permanent_failure_is_a_dead_letter_at_once(stage: Stage) {
        let (node, a) = (stage.node("n1"), steady("a"));
        stage.add([&a]).await;
        let calls = Calls::new(|_| async { Err(Failure::permanent("it makes no sense")) }).arc();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        let letters = stage.letters_are(1).await;
        stage.drained(&a, consumer).await;
        assert_eq!((calls.order().len(), letters[0].attempts), (1, 1));
        assert!(letters[0].cause.contains("it makes no sense"), "{:?}", letters[0]);
    }

    async fn a_pause_that_the_other_side_asks_for_is_kept(stage: Stage) {
        let (node, mut a) = (stage.node("n1"), steady("a"));
        a.retry.max = Span::from_millis(400);
        stage.add([&a]).await;
        let pause = Duration::from_millis(350);
        let calls = Calls::new(move |call| async move {
            let busy = || Failure::RetryAfter { cause: "busy".into(), pause };
            if call.attempt() == 0 { Err(busy()) } else { Ok(()) }
        })
        .arc();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        calls.finished(2).await;
        stage.drained(&a, consumer).await;
        let seen = calls.seen();
        assert!(seen[1].at - seen[0].at >= pause, "{:?}", seen[1].at - seen[0].at);
        stage.letters_are(0).await;
    }

    async fn being_asked_to_wait_uses_up_retries_like_any_failure(stage: Stage) {
        let (node, mut a) = (stage.node("n1"), steady("a"));
        a.retry.attempts = 1;
        stage.add([&a]).await;
        let calls = Calls::new(|_| async {
            Err(Failure::RetryAfter { cause: "busy".into(), pause: Duration::from_millis(10) })
        })
        .arc();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        let letters = stage.letters_are(1).await;
        stage.drained(&a, consumer).await;
        assert_eq!((calls.order().len(), letters[0].attempts), (2, 2));
        assert!(letters[0].cause.contains("busy"), "{:?}", letters[0]);
    }

    async fn an_execution_that_takes_too_long_or_panics_has_failed(stage: Stage) {
        let (node, mut a) = (stage.node("n1"), steady("a"));
        a.timeout = Span::from_millis(100);
        stage.add([&a]).await;
        let calls = Calls::new(|call| async move {
            match call.attempt() {
                0 => std::future::pending().await,
                1 => panic!("on purpose"),
                _ => Err(Failure::permanent("enough")),
            }
        })
        .arc();
        let consumer = stage.consume(&*node.bus, &a, &calls).await;
        node.dispatch(&event("e1")).await;
        let letters = stage.letters_are(1).await;
        stage.drained(&a, consumer).await;
        assert_eq!((calls.order().len(), letters[0].attempts), (3, 3));
    }
}
