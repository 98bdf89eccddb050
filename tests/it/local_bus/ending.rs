//! Events that a group gives up, and their way back.

use super::scene::{Calls, LONG, Node, body, bus, listener};
use crate::support::{bus::plain, wait};
use hearken::{
    bus::{Consumption, DispatchError, EventBus, Failure, codec::decode, event::Data},
    domain::{dead_letter::DeadLetter, listener::ListenerSpec, plan::Action},
};
use serde_json::json;
use std::{sync::Arc, time::Duration};
use tokio::sync::Notify;
use uuid::Uuid;

/// A listener that retries so often, soon.
fn retrying(group: &str, attempts: u32) -> ListenerSpec {
    let mut listener = listener(group);
    listener.retry.attempts = attempts;
    listener
}

fn failing() -> Arc<Calls> {
    Calls::doing(|_, _| async { Err(Failure::new("the index is read-only")) })
}

#[tokio::test]
async fn an_event_is_given_up_after_its_first_execution_and_every_retry() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = retrying("a", 3);
    node.declare(&listener).await;
    let calls = failing();
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &calls);
    let letter = node.letters(1).await.remove(0);
    calls.are(&[("1", 0), ("1", 1), ("1", 2), ("1", 3)]).await;
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
    let expected = DeadLetter {
        id: letter.id,
        bus: bus(),
        group: listener.group.clone(),
        origin: None,
        event_id: Some("1".into()),
        event_type: Some("Added".into()),
        user: Some("bob".into()),
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
    let (_, kept) = node.store.dead_letter(letter.id).await.unwrap().unwrap();
    let kept = decode(letter.content_type.as_deref(), &kept).unwrap();
    assert!(matches!(kept.data, Data::Json(json) if json.get() == body("1")));
}

#[tokio::test]
async fn an_event_that_nothing_can_mend_is_given_up_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let calls = Calls::doing(|_, _| async { Err(Failure::permanent("no such mailbox")) });
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &calls);
    let letter = node.letters(1).await.remove(0);
    consumer.stop.stop(LONG).await;
    calls.are(&[("1", 0)]).await;
    assert_eq!((letter.attempts, letter.cause.as_str()), (1, "no such mailbox"));
    node.is_left_with(&listener, 0, 0).await;
}

#[tokio::test]
async fn a_redelivered_event_has_all_attempts_and_its_new_dead_letter_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let (listener, other) = (retrying("a", 1), retrying("b", 1));
    node.declare(&listener).await;
    node.declare(&other).await;
    let (calls, others) = (failing(), Calls::succeeding());
    node.dispatch("1").await;
    let consumers = [node.consume(&listener, &calls), node.consume(&other, &others)];
    let first = node.letters(1).await.remove(0);
    node.redeliver(&listener, &first).await.unwrap();
    let second = node.letters(2).await.remove(1);
    calls.are(&[("1", 0), ("1", 1), ("1", 0), ("1", 1)]).await;
    assert_eq!((second.attempts, second.previous), (2, Some(first.id)));
    assert!(second.first_failed_at > first.first_failed_at);
    others.are(&[("1", 0)]).await;
    for consumer in consumers {
        consumer.stop.stop(LONG).await;
    }
}

#[tokio::test]
async fn an_event_cannot_go_back_into_a_queue_that_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = retrying("a", 0);
    node.declare(&listener).await;
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &failing());
    let letter = node.letters(1).await.remove(0);
    consumer.stop.stop(LONG).await;
    node.apply(Action::DeleteQueue(node.queue(&listener))).await;
    let refused = node.redeliver(&listener, &letter).await.unwrap_err();
    assert!(matches!(refused, DispatchError::Unroutable(_)), "{refused}");
    node.letters(1).await;
}

#[tokio::test]
async fn what_cannot_be_read_is_parked_for_its_group_and_holds_up_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = ListenerSpec { concurrency: 1, ..listener("a") };
    node.declare(&listener).await;
    let main = node.layout.main(&bus());
    let strange = Some("application/from-the-future");
    node.embedded.publish(&main, "", strange, &json!({}), b"?").await.unwrap();
    node.dispatch("1").await;
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0)]).await;
    node.is_left_with(&listener, 0, 0).await;
    let letter = node.letters(1).await.remove(0);
    assert_eq!((letter.group.as_str(), letter.origin.as_ref()), ("parked", Some(&listener.group)));
    assert_eq!((letter.content_type.as_deref(), letter.event_id.as_ref()), (strange, None));
    assert!(letter.cause.contains("from-the-future"), "{}", letter.cause);
    assert_eq!(node.store.dead_letter(letter.id).await.unwrap().unwrap().1, b"?");
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn an_event_whose_queue_is_discarded_while_it_runs_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = retrying("a", 0);
    node.declare(&listener).await;
    let release = Arc::new(Notify::new());
    let hold = release.clone();
    let calls = Calls::doing(move |_, _| {
        let hold = hold.clone();
        async move {
            hold.notified().await;
            Err(Failure::new("no"))
        }
    });
    node.dispatch("1").await;
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 0)]).await;
    assert_eq!(node.apply(Action::DeleteQueue(node.queue(&listener))).await, 1);
    release.notify_one();
    consumer.stop.stop(LONG).await;
    node.letters(0).await;
}

#[tokio::test]
async fn giving_an_event_up_twice_keeps_it_once() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    node.declare(&listener).await;
    let main = node.layout.main(&bus());
    let reached = node.embedded.publish(&main, "", None, &json!({}), b"x").await.unwrap();
    let now = time::OffsetDateTime::UNIX_EPOCH;
    let letter = |id| DeadLetter {
        id,
        bus: bus(),
        group: listener.group.clone(),
        origin: None,
        event_id: None,
        event_type: None,
        user: None,
        content_type: None,
        keys: [].into(),
        cause: "no".into(),
        attempts: 1,
        first_failed_at: now,
        last_failed_at: now,
        node: "solo".into(),
        previous: None,
    };
    let [(queue, seq)] = &reached[..] else { panic!("{reached:?}") };
    assert_eq!(*queue, node.queue(&listener));
    node.embedded.give_up(*seq, &letter(Uuid::now_v7()), b"x").await.unwrap();
    node.embedded.give_up(*seq, &letter(Uuid::now_v7()), b"x").await.unwrap();
    node.letters(1).await;
    assert_eq!(node.embedded.depth(queue).await.unwrap(), Some(0));
}

/// An event of group `a` that failed once and waits.
async fn waiting(node: &Node, listener: &ListenerSpec) {
    node.declare(listener).await;
    node.dispatch("1").await;
    let calls = Calls::doing(|_, _| async {
        Err(Failure::RetryAfter { cause: "busy".into(), pause: Duration::from_secs(2) })
    });
    let consumer = node.consume(listener, &calls);
    calls.are(&[("1", 0)]).await;
    node.is_left_with(listener, 1, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_waiting_retry_goes_with_a_queue_that_is_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    waiting(&node, &listener).await;
    assert_eq!(node.apply(Action::DeleteQueue(node.queue(&listener))).await, 1);
    node.declare(&listener).await;
    node.is_left_with(&listener, 0, 0).await;
    node.letters(0).await;
}

#[tokio::test]
async fn a_waiting_retry_runs_in_a_queue_that_is_kept_when_its_group_comes_back() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = listener("a");
    waiting(&node, &listener).await;
    let calls = Calls::succeeding();
    let consumer = node.consume(&listener, &calls);
    calls.are(&[("1", 1)]).await;
    node.is_left_with(&listener, 0, 0).await;
    consumer.stop.stop(LONG).await;
}

#[tokio::test]
async fn a_waiting_retry_is_run_to_its_end_in_a_queue_that_is_drained() {
    let folder = tempfile::tempdir().unwrap();
    let node = Node::open(folder.path()).await;
    let listener = retrying("a", 2);
    waiting(&node, &listener).await;
    let consumption = Consumption {
        listener: listener.clone(),
        bus: plain(&listener.bus),
        queue: node.queue(&listener),
        draining: true,
    };
    let calls = failing();
    let consumer = node.bus.consume(consumption, calls.clone());
    assert_eq!(node.letters(1).await[0].attempts, 3);
    calls.are(&[("1", 1), ("1", 2)]).await;
    wait::until("consumers gone", || async {
        (node.depth(&listener).await.consumers == 0).then_some(())
    })
    .await;
    assert_eq!(node.apply(Action::DeleteQueue(node.queue(&listener))).await, 0);
    consumer.stop.stop(LONG).await;
}
