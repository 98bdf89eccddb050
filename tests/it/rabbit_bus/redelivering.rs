//! Dead letters on their way back.

use super::scene::{Scene, event, patient, quick, recorder, ruled, scene};
use crate::broker::contract::{bus, listener};
use crate::support::bus::{Dispatching as _, plain};
use hearken::{
    bus::{EventBus, Failure, Redelivery},
    domain::dead_letter::DeadLetter,
};

/// The entry, as it goes back to its group.
async fn back(scene: &Scene, letter: &DeadLetter) -> Redelivery {
    let (letter, body) = scene.store.dead_letter(letter.id).await.unwrap().unwrap();
    Redelivery {
        queue: scene.queue(&listener(letter.group.as_str())),
        group: letter.group,
        content_type: letter.content_type,
        body,
        previous: letter.id,
    }
}

#[tokio::test]
async fn a_redelivered_event_has_all_its_attempts_and_its_next_entry_names_the_last() {
    let scene = scene(&[quick("a"), quick("b")]).await;
    let node = scene.bus("n1");
    let handler = ruled(|event, _| match event.id.as_str() {
        "e1" => Err(Failure::new("it broke")),
        _ => Ok(()),
    });
    let other = recorder();
    let consumer = scene.consume(&node, &quick("a"), handler.clone()).await;
    let beside = scene.consume(&node, &quick("b"), other.clone()).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let first = scene.kept(1).await.remove(0);
    assert_eq!(first.previous, None);
    let redelivery = back(&scene, &first).await;
    node.redeliver(&plain(&bus()), &redelivery).await.unwrap();
    let second = scene.kept(2).await.remove(1);
    assert_eq!((second.previous, second.attempts), (Some(first.id), 4));
    assert!(second.first_failed_at > first.last_failed_at);
    // The same entry once more is an event that fails again, and still one entry each time.
    let redelivery = back(&scene, &second).await;
    node.redeliver(&plain(&bus()), &redelivery).await.unwrap();
    let letters = scene.kept(3).await;
    consumer.stop.stop(patient()).await;
    beside.stop.stop(patient()).await;
    assert_eq!((letters.len(), letters[2].previous), (3, Some(second.id)));
    let attempts: Vec<u32> = handler.seen().iter().map(|seen| seen.attempt).collect();
    assert_eq!(attempts, [0, 1, 2, 3, 0, 1, 2, 3, 0, 1, 2, 3]);
    // No other listener got it again.
    assert_eq!(other.ids(), ["e1"]);
}

#[tokio::test]
async fn an_event_that_is_redelivered_and_does_well_is_gone() {
    let scene = scene(&[quick("a")]).await;
    let node = scene.bus("n1");
    let failing = ruled(|_, _| Err(Failure::permanent("never")));
    let consumer = scene.consume(&node, &quick("a"), failing).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let letter = scene.kept(1).await.remove(0);
    consumer.stop.stop(patient()).await;
    let redelivery = back(&scene, &letter).await;
    // From any node.
    let elsewhere = scene.bus("n2");
    elsewhere.redeliver(&plain(&bus()), &redelivery).await.unwrap();
    let handler = recorder();
    let consumer = scene.consume(&node, &quick("a"), handler.clone()).await;
    let seen = handler.began(1).await;
    consumer.stop.stop(patient()).await;
    assert_eq!((seen[0].id.as_str(), seen[0].attempt), ("e1", 0));
    assert_eq!(scene.letters().await.len(), 1);
    assert_eq!(scene.count(&scene.queue(&quick("a"))).await, (0, 0));
}

#[tokio::test]
async fn an_event_for_a_group_whose_queue_is_gone_is_parked_and_not_lost() {
    let scene = scene(&[quick("a")]).await;
    let node = scene.collector("n1");
    let failing = ruled(|_, _| Err(Failure::permanent("never")));
    let consumer = scene.consume(&node, &quick("a"), failing).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let letter = scene.kept(1).await.remove(0);
    consumer.stop.stop(patient()).await;
    let queue = scene.queue(&quick("a"));
    let path = format!("queues/{}/{queue}", scene.host.name);
    scene.host.api(reqwest::Method::DELETE, &path, None).await;
    let redelivery = back(&scene, &letter).await;
    node.redeliver(&plain(&bus()), &redelivery).await.unwrap();
    let parked = scene.kept(2).await.remove(1);
    assert_eq!((parked.group.as_str(), parked.previous), ("parked", Some(letter.id)));
    assert_eq!(parked.destination(), Some(&letter.group));
    assert_eq!(parked.event_id.as_deref(), Some("e1"));
}

#[tokio::test]
async fn a_redelivery_while_the_broker_is_away_says_so() {
    let mut scene = scene(&[]).await;
    scene.host.amqp = format!("amqp://anna:secret@127.0.0.1:1/{}", scene.host.name);
    let node = scene.bus("n1");
    let redelivery = Redelivery {
        group: listener("a").group,
        queue: scene.queue(&listener("a")),
        content_type: None,
        body: b"{}".to_vec(),
        previous: uuid::Uuid::nil(),
    };
    let error = node.redeliver(&plain(&bus()), &redelivery).await.unwrap_err().to_string();
    assert!(error.contains("group a") && !error.contains("secret"), "{error}");
}
