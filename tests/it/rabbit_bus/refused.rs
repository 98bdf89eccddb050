//! Events that the broker does not take.

use crate::support::{
    bus::Dispatching as _,
    proxy::{Proxy, Wire, port_of},
    stage::{
        Stage,
        specs::{bus, event, listener},
    },
    wait,
};
use hearken::{
    bus::{DispatchError, EventBus, event::Data},
    domain::plan::Action,
    error_chain::error_chain,
};
use lapin::{
    options::{QueueBindOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use std::{
    error::Error as _,
    time::{Duration, Instant},
};

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
async fn a_bus_whose_broker_is_away_says_so() {
    let stage = Stage::rabbitmq().await;
    stage.bus("n1").health().await.unwrap();
    let away = format!("amqp://anna:secret@127.0.0.1:1/{}", stage.host().name);
    let node = stage.bus_at("n1", &away);
    let problem = error_chain(&node.health().await.unwrap_err());
    assert!(problem.contains("127.0.0.1:1") && !problem.contains("secret"), "{problem}");
    let error = node.dispatch(&bus(), &event("e1"), false).await.unwrap_err();
    assert!(matches!(error, DispatchError::Unavailable { .. }), "{error:?}");
    node.close().await;
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
