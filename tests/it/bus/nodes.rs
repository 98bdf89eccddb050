//! Groups on several nodes, which only RabbitMQ has.

use crate::support::{
    stage::{
        Stage,
        calls::Calls,
        specs::{event, steady},
    },
    wait,
};
use hearken::domain::command::Pending;

#[tokio::test]
async fn a_group_gets_what_a_node_without_it_dispatches() {
    let stage = Stage::rabbitmq().await;
    let (one, two, a, calls) = (stage.node("n1"), stage.node("n2"), steady("a"), Calls::well());
    stage.add([&a]).await;
    let consumer = stage.consume(&*one.bus, &a, &calls).await;
    two.dispatch(&event("e1")).await;
    calls.finished(1).await;
    stage.drained(&a, consumer).await;
    calls.are(["e1"]);
}

#[tokio::test]
async fn of_two_nodes_with_a_group_one_runs_each_event_and_both_work() {
    let stage = Stage::rabbitmq().await;
    let (one, two, mut a) = (stage.node("n1"), stage.node("n2"), steady("a"));
    a.concurrency = 1;
    stage.add([&a]).await;
    let (first, second) = (Calls::held(), Calls::held());
    let on_one = stage.consume(&*one.bus, &a, &first).await;
    let on_two = stage.consume(&*two.bus, &a, &second).await;
    for n in 0..10 {
        two.dispatch(&event(&format!("e{n}"))).await;
    }
    first.began(1).await;
    second.began(1).await;
    first.gate.add_permits(10);
    second.gate.add_permits(10);
    wait::until("all have run", async || (first.ended() + second.ended() == 10).then_some(()))
        .await;
    stage.drained(&a, on_one).await;
    stage.drained(&a, on_two).await;
    let mut all = [first.order(), second.order()].concat();
    all.sort();
    assert_eq!(all, (0..10).map(|n| format!("e{n}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_removed_group_is_not_called_with_what_another_node_dispatches() {
    let stage = Stage::rabbitmq().await;
    let (one, two) = (stage.node("n1"), stage.node("n2"));
    let (a, b) = (steady("a"), steady("b"));
    stage.add([&a, &b]).await;
    let (gone, stays) = (Calls::well(), Calls::well());
    let _on_a = stage.consume(&*one.bus, &a, &gone).await;
    let on_b = stage.consume(&*one.bus, &b, &stays).await;
    stage.remove("a", Pending::Keep).await;
    two.dispatch(&event("e1")).await;
    stays.finished(1).await;
    stage.drained(&b, on_b).await;
    gone.are([]);
}

#[tokio::test]
async fn an_event_from_before_a_group_was_added_does_not_reach_it_on_another_node() {
    let stage = Stage::rabbitmq().await;
    let (one, two, a, calls) = (stage.node("n1"), stage.node("n2"), steady("a"), Calls::well());
    one.dispatch(&event("past")).await;
    stage.add([&a]).await;
    let consumer = stage.consume(&*two.bus, &a, &calls).await;
    one.dispatch(&event("present")).await;
    calls.finished(1).await;
    stage.drained(&a, consumer).await;
    calls.are(["present"]);
}

#[tokio::test]
async fn nodes_that_run_unlike_groups_leave_no_event_out() {
    let stage = Stage::rabbitmq().await;
    let (one, two) = (stage.node("n1"), stage.node("n2"));
    let (a, b, c) = (steady("a"), steady("b"), steady("c"));
    stage.add([&a, &b, &c]).await;
    let (only_one, only_two, no_listener) = (Calls::well(), Calls::well(), Calls::well());
    let on_one = stage.consume(&*one.bus, &a, &only_one).await;
    let on_two = stage.consume(&*two.bus, &b, &only_two).await;
    for n in 0..25 {
        one.dispatch(&event(&format!("one{n}"))).await;
        two.dispatch(&event(&format!("two{n}"))).await;
    }
    only_one.finished(50).await;
    only_two.finished(50).await;
    // A group that runs nowhere yet loses nothing either.
    let on_c = stage.consume(&*two.bus, &c, &no_listener).await;
    no_listener.finished(50).await;
    for (listener, consumer) in [(&a, on_one), (&b, on_two), (&c, on_c)] {
        stage.drained(listener, consumer).await;
    }
    for calls in [&only_one, &only_two, &no_listener] {
        let counts = calls.counts();
        assert_eq!((counts.len(), counts.values().all(|count| *count == 1)), (50, true));
    }
}

#[tokio::test]
async fn a_node_that_does_not_run_a_group_redelivers_to_it() {
    let stage = Stage::rabbitmq().await;
    let (one, two) = (stage.node("n1"), stage.node("n2"));
    let (a, b) = (steady("a"), steady("b"));
    stage.add([&a, &b]).await;
    let (calls, other) = (Calls::well(), Calls::well());
    let on_a = stage.consume(&*one.bus, &a, &calls).await;
    let on_b = stage.consume(&*two.bus, &b, &other).await;
    let letter = stage.give_up("a", &event("e1")).await;
    two.redeliver(&letter).await.unwrap();
    calls.finished(1).await;
    stage.drained(&a, on_a).await;
    stage.drained(&b, on_b).await;
    calls.are(["e1"]);
    other.are([]);
    stage.letters_are(0).await;
}

#[tokio::test]
async fn of_two_nodes_with_a_group_one_runs_what_is_redelivered() {
    let stage = Stage::rabbitmq().await;
    let (one, two, a) = (stage.node("n1"), stage.node("n2"), steady("a"));
    stage.add([&a]).await;
    let (first, second) = (Calls::well(), Calls::well());
    let on_one = stage.consume(&*one.bus, &a, &first).await;
    let on_two = stage.consume(&*two.bus, &a, &second).await;
    let letter = stage.give_up("a", &event("e1")).await;
    two.redeliver(&letter).await.unwrap();
    wait::until("it has run", async || (first.ended() + second.ended() > 0).then_some(())).await;
    stage.drained(&a, on_one).await;
    stage.drained(&a, on_two).await;
    assert_eq!(first.order().len() + second.order().len(), 1);
}
