//! Consumers: how many run, what they wait for, how they stop.

use crate::support::{
    stage::{PATIENCE, Stage, calls::Calls, running, specs::persistent, waiting},
    wait,
};
use hearken::{
    bus::{EventBus, Failure},
    domain::{depth::Depth, listener::ListenerSpec, plan::Action},
};
use std::time::Duration;

#[tokio::test]
async fn no_more_run_at_once_than_the_listener_says_and_all_run() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { concurrency: 3, ..persistent("a") };
    stage.add([&listener]).await;
    for n in 0..20 {
        stage.dispatch_here(&n.to_string()).await;
    }
    let calls = Calls::held();
    let consumer = stage.consume_here(&listener, &calls).await;
    wait::until("three run", || async { (calls.running() == 3).then_some(()) }).await;
    let expected = Depth { ready: 17, unacked: 3, consumers: 1 };
    assert_eq!(stage.depth(&listener).await, expected);
    calls.gate.add_permits(20);
    stage.settled_with(&listener, 0).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!((calls.seen().len(), calls.most()), (20, 3));
    assert_eq!(stage.depth(&listener).await, Depth::default());
}

#[tokio::test]
async fn a_consumer_without_its_queue_waits_and_goes_on_when_it_is_woken() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    let calls = Calls::well();
    let consumer = stage.local().consume(stage.consumption(&listener), calls.clone());
    let queue = stage.queue(&listener);
    waiting(&consumer, &queue).await;
    stage.add([&listener]).await;
    stage.local().wake();
    running(&consumer).await;
    stage.dispatch_here("1").await;
    calls.reach(&[("1", 0)]).await;
    stage.apply(Action::DeleteQueue(queue)).await;
    stage.local().wake();
    waiting(&consumer, "").await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn stopping_lets_running_executions_finish_and_takes_no_more_events() {
    let stage = Stage::embedded().await;
    let listener = ListenerSpec { concurrency: 1, ..persistent("a") };
    stage.add([&listener]).await;
    let calls = Calls::held();
    stage.dispatch_here("1").await;
    stage.dispatch_here("2").await;
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.began(1).await;
    let stopping = tokio::spawn(consumer.stop.stop(PATIENCE));
    tokio::task::yield_now().await;
    assert!(!stopping.is_finished());
    calls.gate.add_permits(1);
    stopping.await.unwrap();
    assert_eq!(calls.attempts(), [("1".to_owned(), 0)]);
    assert_eq!(stage.depth(&listener).await, Depth { ready: 1, unacked: 0, consumers: 0 });
}

#[tokio::test]
async fn stopping_does_not_wait_longer_than_its_patience_and_the_event_runs_again() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let stuck = Calls::endless();
    stage.dispatch_here("1").await;
    let consumer = stage.consume_here(&listener, &stuck).await;
    stuck.reach(&[("1", 0)]).await;
    consumer.stop.stop(Duration::from_millis(50)).await;
    assert_eq!(stage.depth(&listener).await, Depth { ready: 1, unacked: 0, consumers: 0 });
    let calls = Calls::well();
    let consumer = stage.consume_here(&listener, &calls).await;
    calls.reach(&[("1", 0)]).await;
    consumer.stop.stop(PATIENCE).await;
}

#[tokio::test]
async fn an_event_that_runs_in_one_consumer_is_not_taken_by_another_of_its_queue() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let leaving = Calls::held();
    stage.dispatch_here("1").await;
    let old = stage.consume_here(&listener, &leaving).await;
    leaving.reach(&[("1", 0)]).await;
    let stopping = tokio::spawn(old.stop.stop(PATIENCE));
    let calls = Calls::well();
    let new = stage.consume_here(&listener, &calls).await;
    stage.dispatch_here("2").await;
    calls.reach(&[("2", 0)]).await;
    leaving.gate.add_permits(1);
    stopping.await.unwrap();
    stage.settled_with(&listener, 0).await;
    new.stop.stop(PATIENCE).await;
    calls.reach(&[("2", 0)]).await;
}

#[tokio::test]
async fn a_draining_queue_is_consumed_until_it_is_empty_and_then_left_alone() {
    let stage = Stage::embedded().await;
    let listener = persistent("a");
    stage.add([&listener]).await;
    let calls = Calls::held_answering(|_, execution| match execution.attempt {
        0 => Err(Failure::new("once more")),
        _ => Ok(()),
    });
    stage.dispatch_here("1").await;
    let queue = stage.queue(&listener);
    let consumer = stage.local().consume(stage.draining(&listener), calls.clone());
    calls.reach(&[("1", 0)]).await;
    assert_eq!(stage.depth(&listener).await, Depth { ready: 0, unacked: 1, consumers: 1 });
    calls.gate.add_permits(1);
    calls.reach(&[("1", 0), ("1", 1)]).await;
    assert_eq!(stage.depth(&listener).await.consumers, 1);
    calls.gate.add_permits(1);
    wait::until("consumers gone", || async {
        (stage.depth(&listener).await == Depth::default()).then_some(())
    })
    .await;
    assert_eq!(stage.apply(Action::DeleteQueue(queue)).await, 0);
    consumer.stop.stop(PATIENCE).await;
}
