//! Dead letters on their way back.

use crate::support::{
    bus::{Dispatching as _, plain},
    stage::{
        PATIENCE, Stage,
        calls::{Calls, RecordedCall},
        specs::{bus, event, listener, quick},
    },
};
use hearken::bus::{EventBus, Failure, Redelivery};

#[tokio::test]
async fn a_redelivered_event_has_all_its_attempts_and_its_next_entry_names_the_last() {
    let stage = Stage::rabbitmq().await.with([&quick("a"), &quick("b")]).await;
    let node = stage.bus("n1");
    let handler = Calls::answering(|event, _| match event.id.as_str() {
        "e1" => Err(Failure::new("it broke")),
        _ => Ok(()),
    });
    let other = Calls::well();
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    let beside = stage.consume(&node, &quick("b"), &other).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let first = stage.kept(1).await.remove(0);
    assert_eq!(first.previous, None);
    let redelivery = stage.redelivery(&first).await;
    node.redeliver(&plain(&bus()), &redelivery).await.unwrap();
    let second = stage.kept(2).await.remove(1);
    assert_eq!((second.previous, second.attempts), (Some(first.id), 4));
    assert!(second.first_failed_at > first.last_failed_at);
    // The same entry once more is an event that fails again, and still one entry each time.
    let redelivery = stage.redelivery(&second).await;
    node.redeliver(&plain(&bus()), &redelivery).await.unwrap();
    let letters = stage.kept(3).await;
    consumer.stop.stop(PATIENCE).await;
    beside.stop.stop(PATIENCE).await;
    assert_eq!((letters.len(), letters[2].previous), (3, Some(second.id)));
    let attempts: Vec<u32> = handler.seen().iter().map(RecordedCall::attempt).collect();
    assert_eq!(attempts, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
    // No other listener got it again.
    assert_eq!(other.ids(), ["e1"]);
}

#[tokio::test]
async fn an_event_that_is_redelivered_and_does_well_is_gone() {
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.bus("n1");
    let failing = Calls::answering(|_, _| Err(Failure::permanent("never")));
    let consumer = stage.consume(&node, &quick("a"), &failing).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let letter = stage.kept(1).await.remove(0);
    consumer.stop.stop(PATIENCE).await;
    let redelivery = stage.redelivery(&letter).await;
    // From any node.
    let elsewhere = stage.bus("n2");
    elsewhere.redeliver(&plain(&bus()), &redelivery).await.unwrap();
    let handler = Calls::well();
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    let seen = handler.began(1).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!((seen[0].id(), seen[0].attempt()), ("e1", 0));
    assert_eq!(stage.letters().await.len(), 1);
    assert_eq!(stage.count_of(&quick("a")).await, (0, 0));
}

#[tokio::test]
async fn an_event_for_a_group_whose_queue_is_gone_is_parked_and_not_lost() {
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.collector("n1");
    let failing = Calls::answering(|_, _| Err(Failure::permanent("never")));
    let consumer = stage.consume(&node, &quick("a"), &failing).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let letter = stage.kept(1).await.remove(0);
    consumer.stop.stop(PATIENCE).await;
    let queue = stage.queue(&quick("a"));
    stage.delete_queue(&queue).await;
    let redelivery = stage.redelivery(&letter).await;
    node.redeliver(&plain(&bus()), &redelivery).await.unwrap();
    let parked = stage.kept(2).await.remove(1);
    assert_eq!((parked.group.as_str(), parked.previous), ("parked", Some(letter.id)));
    assert_eq!(parked.destination(), Some(&letter.group));
    assert_eq!(parked.event_id.as_deref(), Some("e1"));
}

#[tokio::test]
async fn a_redelivery_while_the_broker_is_away_says_so() {
    let stage = Stage::rabbitmq().await;
    let away = format!("amqp://anna:secret@127.0.0.1:1/{}", stage.host().name);
    let node = stage.bus_at("n1", &away);
    let redelivery = Redelivery {
        group: listener("a").group,
        queue: stage.queue(&listener("a")),
        content_type: None,
        body: b"{}".to_vec(),
        previous: uuid::Uuid::nil(),
    };
    let error = node.redeliver(&plain(&bus()), &redelivery).await.unwrap_err().to_string();
    assert!(error.contains("group a") && !error.contains("secret"), "{error}");
}
