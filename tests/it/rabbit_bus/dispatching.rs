//! Events in.

use crate::support::{
    bus::Dispatching as _,
    proxy::{Proxy, Wire, port_of},
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        header,
        specs::{bus, event, listener},
    },
    wait,
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
    types::{AMQPValue, FieldTable},
};
use std::{
    collections::BTreeSet,
    error::Error as _,
    time::{Duration, Instant},
};

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
async fn what_one_queue_does_not_take_is_in_the_others_once_and_is_an_error() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let (_connection, channel) = stage.plain().await;
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
    arguments.insert("x-overflow".into(), AMQPValue::LongString("reject-publish".into()));
    let options = QueueDeclareOptions::default();
    channel.queue_declare("full".into(), options, arguments).await.unwrap();
    let (main, options) = (stage.layout.main(&bus()), QueueBindOptions::default());
    let binding =
        channel.queue_bind("full".into(), main.into(), "".into(), options, FieldTable::default());
    binding.await.unwrap();
    let refused = node.dispatch(&bus(), &event("e1"), true).await.unwrap_err();
    let causes = refused.source().unwrap().to_string();
    assert!(
        causes.contains("did not take the event: a queue is full or not available"),
        "{causes}"
    );
    assert_eq!(stage.count_of(&listener("a")).await, (1, 0));
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
async fn a_missing_main_exchange_is_said_and_never_declared() {
    let stage = Stage::rabbitmq().await;
    let node = stage.bus("n1");
    let main = stage.layout.main(&bus());
    let path = format!("exchanges/{}/{main}", stage.host().name);
    stage.host().api(reqwest::Method::DELETE, &path, None).await;
    let error = node.dispatch(&bus(), &event("e1"), true).await.unwrap_err();
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(matches!(error, DispatchError::Unavailable { .. }), "{error:?}");
    assert!(error.to_string().contains(&main) && source.contains("NOT_FOUND"), "{error}: {source}");
    let observed = stage.broker.observe().await.unwrap();
    assert!(!observed.exchanges.contains_key(&main));
    // It is used again as soon as it is there.
    let exchange = stage.layout.exchange(main, hearken::domain::topology::ExchangeKind::Direct);
    stage.apply(Action::DeclareExchange(exchange)).await;
    node.dispatch(&bus(), &event("e1"), false).await.unwrap();
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
async fn a_bus_whose_broker_is_away_says_so() {
    let stage = Stage::rabbitmq().await;
    assert_eq!(stage.bus("n1").health().await, Ok(()));
    let away = format!("amqp://anna:secret@127.0.0.1:1/{}", stage.host().name);
    let node = stage.bus_at("n1", &away);
    let problem = node.health().await.unwrap_err();
    assert!(problem.contains("127.0.0.1:1") && !problem.contains("secret"), "{problem}");
    let error = node.dispatch(&bus(), &event("e1"), false).await.unwrap_err();
    assert!(matches!(error, DispatchError::Unavailable { .. }), "{error:?}");
    node.close().await;
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

#[tokio::test]
async fn an_event_that_is_too_large_is_refused_and_not_sent() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let node = stage.bus("n1");
    let mut large = event("e1");
    large.data = Data::Bytes { content_type: None, bytes: vec![7; 13 * 1024 * 1024] };
    let error = node.dispatch(&bus(), &large, true).await.unwrap_err();
    assert!(matches!(error, DispatchError::Unwritable(_)), "{error:?}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("at most 16777216"), "{source}");
    node.dispatch(&bus(), &event("e2"), true).await.unwrap();
    assert_eq!(stage.count_of(&listener("a")).await.0, 1);
}

#[tokio::test]
async fn publishing_into_silence_ends_after_ten_seconds_and_works_again_when_it_is_over() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let proxy = Proxy::before(port_of(&stage.host().amqp)).await;
    let node = stage.bus_at("n1", &proxy.through(&stage.host().amqp));
    node.dispatch(&bus(), &event("e1"), true).await.unwrap();
    proxy.set(Wire::BlackHole);
    let began = Instant::now();
    let error = node.dispatch(&bus(), &event("e2"), true).await.unwrap_err();
    assert!(matches!(error, DispatchError::Unavailable { .. }), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    proxy.set(Wire::Up);
    wait::within(Duration::from_mins(1), "it is accepted again", async || {
        node.dispatch(&bus(), &event("e3"), true).await.ok()
    })
    .await;
}
