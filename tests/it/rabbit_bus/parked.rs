//! Events that no consumer can take: put aside in the broker, and collected into the database.

use crate::support::{
    bus::{DiscardGroup, Dispatching as _, only},
    connections,
    proxy::{Proxy, Wire, port_of},
    services::database,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        header,
        specs::{bus, event, listener, quick},
    },
    wait,
};
use hearken::{
    bus::{EventBus, Failure},
    domain::{bus::Buses, name::GroupName, retention::DeadLetterQuota},
    store::Store,
};
use lapin::{
    BasicProperties,
    options::{BasicGetOptions, BasicPublishOptions},
    types::{AMQPValue, FieldTable},
};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_body_that_is_not_an_event_is_parked_with_the_reason() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::well();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_message_id("m1".into())
        .with_expiration("60000".into());
    stage.publish(b"not an event", properties).await;
    let parked = stage.take(&stage.layout.parked(&bus())).await;
    assert_eq!(parked.delivery.data, b"not an event");
    let properties = &parked.delivery.properties;
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "m1");
    assert_eq!((properties.expiration(), *properties.delivery_mode()), (&None, Some(2)));
    assert_eq!(header(&parked, "x-hearken-group").unwrap(), "a");
    assert!(header(&parked, "x-hearken-error").unwrap().len() > 10);
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(stage.count_of(&listener("a")).await, (0, 0));
}

#[tokio::test]
async fn an_event_whose_group_is_gone_while_it_waits_is_parked() {
    let retried = quick("a");
    let stage = Stage::rabbitmq().await.with([&retried]).await;
    let node = stage.bus("n1");
    let handler = Calls::answering(|_, _| Err(Failure::new("it broke")));
    let consumer = stage.consume(&node, &retried, &handler).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    let queue = stage.queue(&retried);
    stage.delete_queue(&queue).await;
    let parked = stage.take(&stage.layout.parked(&bus())).await;
    assert_eq!(header(&parked, "x-hearken-group").unwrap(), "a");
    assert_eq!(header(&parked, "x-hearken-error").unwrap(), "it broke");
    consumer.stop.stop(PATIENCE).await;
}

/// Parks so many events of group `a`, each of its own.
async fn park(stage: &Stage, count: usize) {
    let (_connection, channel) = stage.plain().await;
    let parked = stage.layout.parked(&bus());
    for n in 0..count {
        let body = format!("{{\"Added\": {{\"eventId\": \"p{n}\", \"user\": \"anna\"}}}}");
        let mut headers = FieldTable::default();
        headers.insert("x-hearken-group".into(), AMQPValue::LongString("a".into()));
        headers.insert("x-hearken-error".into(), AMQPValue::LongString("it broke".into()));
        let properties = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
        let (key, options) = ("a".into(), BasicPublishOptions::default());
        let name = parked.as_str().into();
        let confirm = channel.basic_publish(name, key, options, body.as_bytes(), properties);
        assert!(confirm.await.unwrap().await.unwrap().is_ack());
    }
}

#[tokio::test]
async fn what_is_parked_becomes_a_dead_letter_that_names_its_group_and_the_reason() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.collector("n1");
    let consumer = stage.consume(&node, &listener("a"), &Calls::well()).await;
    let properties = BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_timestamp(1_700_000_000);
    stage.publish(b"not an event", properties).await;
    let letters = stage.kept(1).await;
    consumer.stop.stop(PATIENCE).await;
    let letter = &letters[0];
    assert_eq!((letter.group.as_str(), letter.bus.as_str()), ("parked", "mailboxEvent"));
    assert_eq!(letter.destination(), Some(&listener("a").group));
    assert_eq!((letter.event_id.as_deref(), letter.attempts), (None, 0));
    assert!(letter.cause.contains("JSON"), "{}", letter.cause);
    assert_eq!(letter.first_failed_at.unix_timestamp(), 1_700_000_000);
    let (_, body) = stage.store.dead_letter(letter.id).await.unwrap().unwrap();
    assert_eq!(body, b"not an event");
    stage.emptied(&stage.layout.parked(&bus())).await;
}

#[tokio::test]
async fn at_the_quota_what_is_parked_stays_in_its_queue_until_there_is_room() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    stage.store.limit_dead_letters(DeadLetterQuota { entries: 2, bytes: 1 << 20 });
    park(&stage, 5).await;
    let _node = stage.collector("n1");
    stage.letters_are(2).await;
    wait::until("the other three wait in their queue", async || {
        (stage.count(&stage.layout.parked(&bus())).await.0 == 3).then_some(())
    })
    .await;
    stage.letters_are(2).await;
    stage.store.limit_dead_letters(DeadLetterQuota::default());
    stage.letters_are(5).await;
    stage.emptied(&stage.layout.parked(&bus())).await;
}

#[tokio::test]
async fn what_the_broker_gave_up_on_is_collected_for_the_group_of_its_queue() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.collector("n1");
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let queue = stage.queue(&listener("a"));
    // A consumer that dies with the event unacknowledged, until the broker has had enough of it.
    wait::until("the event is parked", async || {
        let (connection, channel) = stage.plain().await;
        let got = channel.basic_get(queue.as_str().into(), BasicGetOptions::default()).await;
        drop(got.unwrap());
        connection.close(200, "dead".into()).await.unwrap();
        (!stage.letters().await.is_empty()).then_some(())
    })
    .await;
    let letter = &stage.letters().await[0];
    assert_eq!(letter.destination(), Some(&listener("a").group));
    assert_eq!((letter.event_id.as_deref(), letter.user.as_deref()), (Some("e1"), Some("anna")));
    assert!(letter.cause.contains("gave up") && letter.cause.contains(&queue), "{}", letter.cause);
}

#[tokio::test]
async fn an_event_that_comes_back_for_a_group_that_is_gone_is_kept_with_how_it_had_failed() {
    let stage = Stage::rabbitmq().await.with([&quick("a")]).await;
    let node = stage.collector("n1");
    let handler = Calls::answering(|_, _| Err(Failure::new("it broke")));
    let consumer = stage.consume(&node, &quick("a"), &handler).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    handler.began(1).await;
    let queue = stage.queue(&quick("a"));
    stage.delete_queue(&queue).await;
    let letters = stage.kept(1).await;
    consumer.stop.stop(PATIENCE).await;
    let letter = &letters[0];
    assert_eq!((letter.group.as_str(), letter.event_id.as_deref()), ("parked", Some("e1")));
    assert_eq!(letter.destination(), Some(&quick("a").group));
    assert!(letter.attempts > 0);
    let cause = "it came back for group a, which has no queue; it had failed before: it broke";
    assert_eq!(letter.cause, cause);
}

#[tokio::test]
async fn two_nodes_that_collect_at_once_keep_each_event_once() {
    let stage = Stage::rabbitmq().await;
    park(&stage, 60).await;
    let (_one, _two) = (stage.collector("n1"), stage.collector("n2"));
    let parked = stage.layout.parked(&bus());
    stage.kept(60).await;
    stage.emptied(&parked).await;
    let letters = stage.letters().await;
    let events: BTreeSet<_> = letters.iter().map(|letter| letter.event_id.clone()).collect();
    assert_eq!((letters.len(), events.len()), (60, 60));
    // The same events again add no entry.
    park(&stage, 60).await;
    stage.emptied(&parked).await;
    assert_eq!(stage.letters().await.len(), 60);
}

#[tokio::test]
async fn a_node_that_stops_in_the_middle_leaves_the_rest_to_another() {
    let stage = Stage::rabbitmq().await;
    park(&stage, 100).await;
    let one = stage.collector("n1");
    stage.kept(5).await;
    one.set_buses(&Buses::new());
    let two = stage.collector("n2");
    one.close().await;
    let letters = stage.kept(100).await;
    assert_eq!(letters.len(), 100);
    stage.emptied(&stage.layout.parked(&bus())).await;
    two.close().await;
    // Nothing was left in the hands of either.
    assert_eq!(stage.count(&stage.layout.parked(&bus())).await, (0, 0));
}

#[tokio::test]
async fn a_queue_that_is_away_is_collected_once_it_is_there() {
    let stage = Stage::rabbitmq().await;
    let parked = stage.layout.parked(&bus());
    stage.delete_queue(&parked).await;
    let node = stage.collector("n1");
    // It has been looked for, and is not declared.
    wait::until("the node is connected", async || {
        // The broker's admin connection, and at least the one that the node consumes on.
        (connections::names(stage.host()).await.len() >= 2).then_some(())
    })
    .await;
    stage.redeclare().await;
    park(&stage, 3).await;
    assert_eq!(stage.kept(3).await.len(), 3);
    node.close().await;
}

#[tokio::test]
async fn while_the_database_is_away_what_is_parked_stays_in_the_broker() {
    let mut stage = Stage::rabbitmq().await;
    let database = database().await;
    let proxy = Proxy::before(port_of(&database)).await;
    stage.store = Store::postgres(&proxy.through(&database)).await.unwrap();
    proxy.set(Wire::Cut);
    let node = stage.collector("n1");
    park(&stage, 20).await;
    wait::until("the database is found away", async || stage.store.ping().await.err().map(|_| ()))
        .await;
    wait::until("the node is connected", async || {
        // The broker's admin connection, and at least the one that the node consumes on.
        (connections::names(stage.host()).await.len() >= 2).then_some(())
    })
    .await;
    assert_eq!(stage.count(&stage.layout.parked(&bus())).await.0, 20);
    proxy.set(Wire::Up);
    assert_eq!(stage.kept(20).await.len(), 20);
    stage.emptied(&stage.layout.parked(&bus())).await;
    node.close().await;
}

#[tokio::test]
async fn what_comes_back_for_a_group_whose_events_are_discarded_is_dropped() {
    let stage = Stage::rabbitmq().await;
    let mut config = stage.config("n1");
    config.discards = std::sync::Arc::new(DiscardGroup("a"));
    let node = hearken::bus::rabbitmq::RabbitMqBus::new(config);
    park(&stage, 10).await;
    // Of another group, behind them.
    let (_connection, channel) = stage.plain().await;
    let parked = stage.layout.parked(&bus());
    let (name, options) = (parked.as_str().into(), BasicPublishOptions::default());
    let confirm =
        channel.basic_publish(name, "b".into(), options, b"x", BasicProperties::default());
    assert!(confirm.await.unwrap().await.unwrap().is_ack());
    node.set_buses(&only(bus()));
    let letters = stage.kept(1).await;
    stage.emptied(&parked).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].origin.as_ref().map(GroupName::as_str), Some("b"));
}
