//! Events in.

use crate::support::{
    bus::Dispatching as _,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        header,
        specs::{bus, event, listener},
    },
};
use hearken::{
    bus::{DispatchError, EventBus, Outgoing, event::Data},
    domain::{
        bus::{BusDefinition, Codec},
        plan::Action,
        topology::Binding,
    },
};
use lapin::{
    ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
    types::FieldTable,
};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_dispatched_event_runs_once() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let handler = Calls::well();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let seen = handler.began(1).await;
    assert_eq!((seen[0].id(), seen[0].attempt()), ("e1", 0));
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(handler.ids(), ["e1"]);
    assert_eq!(stage.count_of(&listener("a")).await, (0, 0));
}

#[tokio::test]
async fn events_dispatched_at_once_all_arrive() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let ids: Vec<String> = (0..500).map(|n| format!("e{n:03}")).collect();
    let events: Vec<_> = ids.iter().map(|id| event(id)).collect();
    let name = bus();
    let dispatches = events.iter().map(|event| node.dispatch(&name, event, true));
    for outcome in futures_util::future::join_all(dispatches).await {
        outcome.unwrap();
    }
    let handler = Calls::well();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    handler.began(500).await;
    consumer.stop.stop(PATIENCE).await;
    assert_eq!(handler.ids(), ids);
}

#[tokio::test]
async fn a_dispatched_event_is_persistent_and_says_what_it_is() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    let long = "x".repeat(300);
    node.dispatch(&bus(), &event(&long), true).await.unwrap();
    let queue = stage.queue(&listener("a"));
    let first = stage.take(&queue).await;
    let properties = &first.delivery.properties;
    assert_eq!(*properties.delivery_mode(), Some(2));
    let content_type = properties.content_type().as_ref().unwrap().as_str();
    assert_eq!(content_type, "application/cloudevents+json");
    assert_eq!(properties.message_id().as_ref().unwrap().as_str(), "e1");
    assert_eq!(properties.kind().as_ref().unwrap().as_str(), "Added");
    assert_eq!(properties.app_id().as_ref().unwrap().as_str(), "hearken");
    assert!(properties.timestamp().unwrap() > 1_700_000_000);
    // An identity that AMQP has no room for is still in the body.
    let second = stage.take(&queue).await;
    assert_eq!(*second.delivery.properties.message_id(), None);
    assert!(String::from_utf8_lossy(&second.delivery.data).contains(&long));
}

#[tokio::test]
async fn an_event_without_a_queue_is_fine_without_listeners_and_unroutable_with_them() {
    let stage = Stage::rabbitmq().await;
    let node = stage.bus("n1");
    node.dispatch(&bus(), &event("e1"), false).await.unwrap();
    let error = node.dispatch(&bus(), &event("e1"), true).await.unwrap_err();
    assert!(matches!(error, DispatchError::Unroutable(_)), "{error:?}");
}

#[tokio::test]
async fn while_the_queue_is_bound_and_unbound_each_accepted_event_is_in_it() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let (node, name) = (stage.bus("n1"), bus());
    let binding = Binding::of_queue(&stage.layout.main(&name), &stage.queue(&listener("a")), "");
    let binding = &binding;
    let toggling = async {
        for _ in 0..40 {
            stage.apply(Action::Unbind(binding.clone())).await;
            stage.apply(Action::Bind(binding.clone())).await;
        }
    };
    let toggled = std::sync::atomic::AtomicBool::new(false);
    let toggled = &toggled;
    let flood = futures_util::future::join_all((0..20).map(async |lane| {
        let (mut accepted, mut refused) = (Vec::new(), 0);
        let mut count = 0;
        while !toggled.load(std::sync::atomic::Ordering::SeqCst) {
            count += 1;
            let event = event(&format!("{lane}-{count}"));
            match node.dispatch(&name, &event, true).await {
                Ok(()) => accepted.push(event.id),
                Err(DispatchError::Unroutable(_)) => refused += 1,
                Err(error) => panic!("{error:?}"),
            }
        }
        (accepted, refused)
    }));
    let toggling = async {
        toggling.await;
        toggled.store(true, std::sync::atomic::Ordering::SeqCst);
    };
    let (lanes, ()) = tokio::join!(flood, toggling);
    assert!(lanes.iter().any(|(_, refused)| *refused > 0), "the queue was never unbound");
    let accepted: Vec<String> = lanes.into_iter().flat_map(|(accepted, _)| accepted).collect();
    let handler = Calls::well();
    let consumer = stage.consume(&node, &listener("a"), &handler).await;
    stage.left_with(&listener("a"), 0).await;
    consumer.stop.stop(PATIENCE).await;
    let ids: std::collections::BTreeSet<String> = handler.ids().into_iter().collect();
    let lost: Vec<_> = accepted.iter().filter(|id| !ids.contains(*id)).collect();
    assert!(lost.is_empty(), "accepted and in no queue: {lost:?}");
}

#[tokio::test]
async fn a_noop_event_is_not_published() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let mut noop = event("e1");
    noop.noop = true;
    node.dispatch(&bus(), &noop, true).await.unwrap();
    node.dispatch(&bus(), &event("e2"), true).await.unwrap();
    assert_eq!(stage.count_of(&listener("a")).await.0, 1);
}

#[tokio::test]
async fn what_goes_to_an_exchange_of_james_is_what_james_would_have_written() {
    let stage = Stage::rabbitmq().await;
    let (_connection, channel) = stage.plain().await;
    let no_arguments = FieldTable::default;
    let (kind, options) = (ExchangeKind::Direct, ExchangeDeclareOptions::default());
    channel.exchange_declare("james".into(), kind, options, no_arguments()).await.unwrap();
    let options = QueueDeclareOptions::default();
    channel.queue_declare("theirs".into(), options, no_arguments()).await.unwrap();
    let options = QueueBindOptions::default();
    channel
        .queue_bind("theirs".into(), "james".into(), "".into(), options, no_arguments())
        .await
        .unwrap();
    let mut attached = BusDefinition::plain(bus());
    attached.attached = true;
    attached.codec = Codec::James;
    attached.exchange = Some("james".into());
    let body = r#"{"Added": {"eventId": "j1", "user": "anna"}}"#;
    let mut event = event("j1");
    event.source = hearken::bus::event::JAMES_SOURCE.into();
    event.data = Data::Json(serde_json::value::RawValue::from_string(body.into()).unwrap());
    let outgoing = Outgoing { event, keys: BTreeSet::new(), must_route: true, kept_by: None };
    let node = stage.bus("n1");
    node.publish(&attached, &outgoing).await.unwrap();
    node.publish(&attached, &outgoing).await.unwrap();
    let (first, second) = (stage.take("theirs").await, stage.take("theirs").await);
    assert_eq!(first.delivery.data, body.as_bytes());
    let properties = &first.delivery.properties;
    assert_eq!(properties.content_type().as_ref().unwrap().as_str(), "text/plain");
    assert_eq!(*properties.delivery_mode(), Some(2));
    assert_eq!((properties.message_id(), properties.kind()), (&None, &None));
    assert_eq!((properties.timestamp(), properties.app_id()), (&None, &None));
    assert_eq!(properties.headers().as_ref().unwrap().inner().len(), 1);
    let publisher = header(&first, "eventBusId").unwrap();
    assert!(uuid::Uuid::parse_str(&publisher).is_ok(), "{publisher}");
    assert_eq!(header(&second, "eventBusId").unwrap(), publisher);
}
