//! Events that a group gives up, and their way back.

use crate::support::{
    bus::plain,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        letters::letter,
        specs::{bus, persistent},
    },
    wait,
};
use hearken::{
    bus::{DispatchError, EventBus, Failure, codec::decode, event::Data},
    domain::{dead_letter::DeadLetter, listener::ListenerSpec, plan::Action},
    store::embedded::DeliveryId,
};
use serde_json::json;
use std::{sync::Arc, time::Duration};

/// A listener with this number of retries, each after at most 200 ms.
fn retrying(group: &str, attempts: u32) -> ListenerSpec {
    let mut listener = persistent(group);
    listener.retry.attempts = attempts;
    listener
}

/// Puts a dead letter back into its group's queue.
async fn redeliver(stage: &Stage, letter: &DeadLetter) -> Result<(), DispatchError> {
    stage.local().redeliver(&plain(&bus()), &stage.redelivery(letter).await).await
}

fn failing() -> Arc<Calls> {
    Calls::answering(|_, _| Err(Failure::new("the index is read-only")))
}

#[tokio::test]
async fn an_event_is_given_up_after_its_first_execution_and_every_retry() {
    let stage = Stage::embedded().await;
    let listener = retrying("a", 3);
    stage.add([&listener]).await;
    let calls = failing();
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &calls).await;
    let letter = stage.letters_are(1).await.remove(0);
    calls.reach(&[("1", 0), ("1", 1), ("1", 2), ("1", 3)]).await;
    stage.settled_with(&listener, 0).await;
    consumer.stop.stop(PATIENCE).await;
    let expected = DeadLetter {
        id: letter.id,
        bus: bus(),
        group: listener.group.clone(),
        origin: None,
        event_id: Some("1".into()),
        event_type: Some("Added".into()),
        user: Some("anna".into()),
        content_type: Some("application/cloudevents+json".into()),
        keys: [].into(),
        cause: "the index is read-only".into(),
        attempts: 4,
        first_failed_at: letter.first_failed_at,
        last_failed_at: letter.last_failed_at,
        node: "solo".into(),
        previous: None,
    };
    assert_eq!(letter, expected);
    // Three pauses of 100 and 200 ms are between the first failure and the last.
    let lasted = letter.last_failed_at - letter.first_failed_at;
    assert!(lasted > Duration::from_millis(400) && lasted < Duration::from_secs(20), "{lasted}");
    let (_, kept) = stage.store.dead_letter(letter.id).await.unwrap().unwrap();
    let kept = decode(letter.content_type.as_deref(), &kept).unwrap();
    assert!(matches!(kept.data, Data::Json(json) if json.get() == r#"{"n":1.0}"#));
}

#[tokio::test]
async fn a_permanent_failure_gives_the_event_up_at_once() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let calls = Calls::answering(|_, _| Err(Failure::permanent("no such mailbox")));
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &calls).await;
    let letter = stage.letters_are(1).await.remove(0);
    consumer.stop.stop(PATIENCE).await;
    calls.reach(&[("1", 0)]).await;
    assert_eq!((letter.attempts, letter.cause.as_str()), (1, "no such mailbox"));
    stage.settled_with(&listener, 0).await;
}

#[tokio::test]
async fn a_redelivered_event_has_all_attempts_and_its_new_dead_letter_names_the_first() {
    let stage = Stage::embedded().await;
    let (listener, other) = (retrying("a", 1), retrying("b", 1));
    stage.add([&listener, &other]).await;
    let (calls, others) = (failing(), Calls::well());
    stage.dispatch_here("1").await;
    let consumers =
        [stage.consume_here(&listener, &calls).await, stage.consume_here(&other, &others).await];
    let first = stage.letters_are(1).await.remove(0);
    redeliver(&stage, &first).await.unwrap();
    let second = stage.letters_are(2).await.remove(1);
    calls.reach(&[("1", 0), ("1", 1), ("1", 0), ("1", 1)]).await;
    assert_eq!((second.attempts, second.previous), (2, Some(first.id)));
    assert!(second.first_failed_at > first.first_failed_at);
    others.reach(&[("1", 0)]).await;
    for consumer in consumers {
        consumer.stop.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn an_event_cannot_go_back_into_a_queue_that_is_gone() {
    let stage = Stage::embedded().await;
    let listener = retrying("a", 0);
    stage.add([&listener]).await;
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &failing()).await;
    let letter = stage.letters_are(1).await.remove(0);
    consumer.stop.stop(PATIENCE).await;
    stage.apply(Action::DeleteQueue(stage.queue(&listener))).await;
    let refused = redeliver(&stage, &letter).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Unroutable(_)), "{refused}");
    stage.letters_are(1).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_parked_for_its_group_and_holds_up_no_other() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { concurrency: 1, ..persistent("a") };
    stage.add([&listener]).await;
    let main = stage.layout.main(&bus());
    let strange = Some("application/from-the-future");
    let embedded = stage.store.embedded().unwrap();
    embedded.publish(&main, "", strange, &json!({}), b"?").await.unwrap();
    stage.dispatch_here("1").await;
    let calls = Calls::well();
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("1", 0)]).await;
    stage.settled_with(&listener, 0).await;
    let letter = stage.letters_are(1).await.remove(0);
    assert_eq!((letter.group.as_str(), letter.origin.as_ref()), ("parked", Some(&listener.group)));
    assert_eq!((letter.content_type.as_deref(), letter.event_id.as_ref()), (strange, None));
    assert!(letter.cause.contains("from-the-future"), "{}", letter.cause);
    assert_eq!(stage.store.dead_letter(letter.id).await.unwrap().unwrap().1, b"?");
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_event_whose_queue_is_discarded_while_it_runs_is_not_kept() {
    let stage = Stage::embedded().await;
    let listener = retrying("a", 0);
    stage.add([&listener]).await;
    let calls = Calls::held_answering(|_, _| Err(Failure::new("no")));
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("1", 0)]).await;
    assert_eq!(stage.apply(Action::DeleteQueue(stage.queue(&listener))).await, 1);
    calls.gate.add_permits(1);
    consumer.stop.stop(PATIENCE).await;
    stage.letters_are(0).await;
}

#[tokio::test]
async fn giving_an_event_up_twice_keeps_it_once() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let main = stage.layout.main(&bus());
    let embedded = stage.store.embedded().unwrap();
    let reached = embedded.publish(&main, "", None, &json!({}), b"x").await.unwrap();
    let [DeliveryId { queue, seq }] = &reached[..] else { panic!("{reached:?}") };
    assert_eq!(*queue, stage.queue(&listener));
    embedded.give_up(*seq, &letter("a"), b"x").await.unwrap();
    embedded.give_up(*seq, &letter("a"), b"x").await.unwrap();
    stage.letters_are(1).await;
    assert_eq!(embedded.depth(queue).await.unwrap(), Some(0));
}

/// An event of group `a` that failed once and waits.
async fn one_waits(stage: &Stage, listener: &ListenerSpec) {
    stage.add([listener]).await;
    stage.dispatch_here("1").await;
    let pause = Duration::from_secs(2);
    let calls =
        Calls::answering(move |_, _| Err(Failure::RetryAfter { cause: "busy".into(), pause }));
    let consumer = stage.consume_here(listener, &calls).await;
    calls.reach(&[("1", 0)]).await;
    stage.settled_with(listener, 1).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_waiting_retry_goes_with_a_queue_that_is_discarded() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    one_waits(&stage, &listener).await;
    assert_eq!(stage.apply(Action::DeleteQueue(stage.queue(&listener))).await, 1);
    stage.redeclare().await;
    stage.settled_with(&listener, 0).await;
    stage.letters_are(0).await;
}

#[tokio::test]
async fn a_waiting_retry_runs_in_a_queue_that_is_kept_when_its_group_comes_back() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    one_waits(&stage, &listener).await;
    let calls = Calls::well();
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("1", 1)]).await;
    stage.settled_with(&listener, 0).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn a_waiting_retry_is_run_to_its_end_in_a_queue_that_is_drained() {
    let stage = Stage::embedded().await;
    let listener = retrying("a", 2);
    one_waits(&stage, &listener).await;
    let calls = failing();
    let consumer = stage.local().consume(stage.draining(&listener), calls.clone());
    assert_eq!(stage.letters_are(1).await[0].attempts, 3);
    calls.reach(&[("1", 1), ("1", 2)]).await;
    wait::until("consumers gone", || async {
        (stage.depth(&listener).await.consumers == 0).then_some(())
    })
    .await;
    assert_eq!(stage.apply(Action::DeleteQueue(stage.queue(&listener))).await, 0);
    consumer.stop.stop(PATIENCE).await;
}
