//! Limits of the channels of a connection.

use crate::support::{
    bus::Dispatching as _,
    connections,
    stage::{
        PATIENCE, Stage,
        calls::Calls,
        keys, running,
        specs::{bus, event, listener},
    },
    wait,
};
use hearken::{
    amqp::{Amqp, AmqpError, AmqpUrl, Purpose, Scout},
    bus::EventBus,
};
use lapin::options::{BasicConsumeOptions, BasicGetOptions};
use std::sync::Arc;

/// An address whose connections have few channels.
fn with_channels(stage: &Stage, most: u16) -> String {
    format!("{}?channel_max={most}", stage.host().amqp)
}

#[tokio::test]
async fn more_listeners_than_a_connection_has_channels_are_all_consumed() {
    let stage = Stage::rabbitmq().await;
    let listeners: Vec<_> = (0..30).map(|number| listener(&format!("g{number}"))).collect();
    let node: Arc<dyn EventBus> = Arc::new(stage.bus_at("n1", &with_channels(&stage, 8)));
    let calls = Calls::well();
    // Each consumer waits for its queue at first.
    let consumers: Vec<_> = listeners
        .iter()
        .map(|listener| {
            let consumption = stage.consumption(listener);
            node.consume(consumption, calls.clone())
        })
        .collect();
    for listener in &listeners {
        stage.enroll([listener]).await;
    }
    stage.converge().await;
    node.wake();
    for consumer in &consumers {
        running(consumer).await;
    }
    let notified = Calls::well();
    let _registration =
        keys::follow_on(&node, &crate::support::bus::plain(&bus()), ["k"], &notified).await;
    stage.bus("n2").dispatch(&bus(), &event("e1"), true).await.unwrap();
    wait::until("every listener has run", async || (calls.ended() == 30).then_some(())).await;
    for consumer in consumers {
        consumer.stop.stop(PATIENCE).await;
    }
}

#[tokio::test]
async fn many_channels_that_the_broker_closes_exhaust_no_connection() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let url = AmqpUrl::parse(&with_channels(&stage, 8)).unwrap();
    let amqp = Amqp::new(url, "n1", Purpose::Consume);
    let channel = amqp.channel().await.unwrap();
    let queue = stage.queue(&listener("a")).as_str().into();
    let kept = amqp.consume(&channel, queue, BasicConsumeOptions::default()).await.unwrap();
    for attempt in 0..100 {
        let channel = amqp.channel().await.unwrap_or_else(|error| panic!("{attempt}: {error}"));
        let fetching = channel.basic_get("missing".into(), BasicGetOptions::default());
        let refused = amqp.answer(fetching).await.map(drop).unwrap_err();
        assert!(matches!(refused, AmqpError::Missing(_)), "{attempt}: {refused:?}");
    }
    // The connection that consumes has lasted, and the worn connections were closed.
    assert!(channel.status().connected());
    drop(kept);
    wait::until("few connections are left", async || {
        let ours = connections::names(stage.host()).await.len();
        (ours <= 4).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_scout_tells_missing_objects_any_number_of_times() {
    let stage = Stage::rabbitmq().await.with([&listener("a")]).await;
    let scout = Scout::new(AmqpUrl::parse(&with_channels(&stage, 8)).unwrap(), "n1");
    let (queue, main) = (stage.queue(&listener("a")), stage.layout.main(&bus()));
    for attempt in 0..50 {
        let missing = scout.find_queue("missing").await.unwrap_err();
        assert!(matches!(missing, AmqpError::Missing(_)), "{attempt}: {missing:?}");
        let missing = scout.find_exchange("missing").await.unwrap_err();
        assert!(matches!(missing, AmqpError::Missing(_)), "{attempt}: {missing:?}");
        scout.find_queue(&queue).await.unwrap();
        scout.find_exchange(&main).await.unwrap();
    }
    scout.close().await;
}
