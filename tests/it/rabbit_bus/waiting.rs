//! Pauses that the other side asks for.

use crate::support::{
    bus::Dispatching as _,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        specs::{bus, event, listener, quick},
    },
};
use hearken::{bus::Failure, domain::span::Span};
use std::time::Duration;

#[tokio::test]
async fn a_pause_that_the_other_side_asks_for_is_kept() {
    let mut retried = listener("a");
    retried.retry.max = Span::from_millis(1_600);
    let stage = Stage::rabbitmq().await.with([&retried]).await;
    let node = stage.bus("n1");
    let handler = Calls::answering(|_, execution| {
        let pause = Duration::from_millis(600);
        if execution.attempt == 0 {
            Err(Failure::RetryAfter { cause: "busy".into(), pause })
        } else {
            Ok(())
        }
    });
    let consumer = stage.consume(&node, &retried, &handler).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let seen = handler.began(2).await;
    consumer.stop.stop(PATIENCE).await;
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(800), "{seen:?}");
}

#[tokio::test]
async fn a_pause_that_no_wait_level_holds_is_kept_and_coming_back_early_is_no_attempt() {
    // Its longest level has 200 ms.
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.bus("n1");
    let handler =
        Calls::answering(|event, execution| match (event.id.as_str(), execution.attempt) {
            ("e1", 0) => {
                let pause = Duration::from_millis(1_500);
                Err(Failure::RetryAfter { cause: "busy".into(), pause })
            }
            ("e1", 1) => Err(Failure::new("it broke")),
            _ => Ok(()),
        });
    let mut narrow = quick("a");
    narrow.concurrency = 1;
    let consumer = stage.consume(&node, &narrow, &handler).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    node.dispatch(&bus(), &event("e2"), true).await.unwrap();
    let seen = handler.began(4).await;
    consumer.stop.stop(PATIENCE).await;
    let of_one: Vec<_> = seen.iter().filter(|seen| seen.id() == "e1").collect();
    assert_eq!(of_one.iter().map(|seen| seen.attempt()).collect::<Vec<_>>(), [0, 1, 2]);
    let (asked, own) = (of_one[1].at - of_one[0].at, of_one[2].at - of_one[1].at);
    assert!(asked >= Duration::from_millis(1_500), "{asked:?}");
    // What was asked for once does not hold for the next pause.
    assert!(own < Duration::from_millis(1_500), "{own:?}");
    // Meanwhile the other event ran.
    assert!(seen.iter().any(|seen| seen.id() == "e2" && seen.at < of_one[1].at));
}

#[tokio::test]
async fn while_half_of_the_events_fail_the_other_half_does_not_wait_for_their_pauses() {
    let mut slow = listener("a");
    slow.retry.first = Span::from_millis(1_600);
    slow.retry.max = Span::from_millis(1_600);
    slow.concurrency = 2;
    let stage = Stage::rabbitmq().await.with([&slow]).await;
    let node = stage.bus("n1");
    let handler = Calls::answering(|event, execution| {
        if event.id.starts_with("bad") && execution.attempt == 0 {
            return Err(Failure::new("it broke"));
        }
        Ok(())
    });
    let consumer = stage.consume(&node, &slow, &handler).await;
    let name = bus();
    let events: Vec<_> =
        (0..100).flat_map(|n| [event(&format!("bad{n}")), event(&format!("good{n}"))]).collect();
    let dispatches = events.iter().map(|event| node.dispatch(&name, event, true));
    for outcome in futures_util::future::join_all(dispatches).await {
        outcome.unwrap();
    }
    let seen = handler.began(300).await;
    consumer.stop.stop(PATIENCE).await;
    let begun = seen[0].at;
    let last = seen.iter().filter(|seen| seen.id().starts_with("good")).map(|seen| seen.at).max();
    // A hundred pauses, two at a time, would have taken 80 s.
    assert!(last.unwrap() - begun < Duration::from_secs(20), "{:?}", last.unwrap() - begun);
    assert_eq!(stage.letters().await, []);
}
