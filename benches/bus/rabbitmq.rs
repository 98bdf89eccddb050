//! Over RabbitMQ.

use crate::{
    ROUNDS, WINDOW,
    ours::{Counting, Host, bus, event, listeners, outgoing, stop},
    rate,
    raw::{FAILS, Raw},
    time,
};
use futures_util::{StreamExt, stream};
use hearken::bus::{
    EventBus, Redelivery,
    codec::{CLOUDEVENTS_JSON, encode_cloudevent},
    rabbitmq::RabbitMqBus,
};
use hearken::store::dead_letters::{DeadLetterFilter, PurgeWindow};
use std::time::{Duration, Instant};
use uuid::Uuid;

async fn publish_all(bus: &RabbitMqBus, events: usize, bytes: usize) {
    let definition = super::ours::bus();
    stream::iter(0..events)
        .for_each_concurrent(WINDOW, async |number| {
            bus.publish(&definition, &outgoing(number, bytes)).await.expect("published");
        })
        .await;
}

fn bodies(events: usize, bytes: usize) -> Vec<Vec<u8>> {
    (0..events).map(|number| encode_cloudevent(&event(number, bytes))).collect()
}

/// From the first publish until every group has handled every event.
pub(crate) async fn throughput(groups: usize, events: usize, bytes: usize) {
    let host = Host::with(listeners(groups)).await;
    let queues: Vec<String> = host.listeners.iter().map(|one| host.queue(one)).collect();
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let node = host.bus();
        let handler = Counting::new(|_| false);
        let consumers = host.consume(&node, &handler).await;
        let began = Instant::now();
        tokio::join!(publish_all(&node, events, bytes), handler.reach(events * groups));
        ours.push(began.elapsed());
        stop(consumers).await;
        node.close().await;

        let raw = Raw::connect(&host.amqp, &host.layout.events(&bus())).await;
        let counter = raw.consume(&queues).await;
        let bodies = bodies(events, bytes);
        let began = Instant::now();
        tokio::join!(raw.publish_all(&bodies), counter.reach(events * groups));
        theirs.push(began.elapsed());
    }
    let size = if bytes < 1024 { "0.5 KiB" } else { "16 KiB" };
    let what = format!("executions, {groups} groups, events of {size}");
    rate(&what, events * groups, ours, theirs);
    host.remove().await;
}

/// From one publish until its execution, with nothing else going on.
pub(crate) async fn latency() {
    const SAMPLES: usize = 200;
    let host = Host::with(listeners(1)).await;
    let node = host.bus();
    let handler = Counting::new(|_| false);
    let consumers = host.consume(&node, &handler).await;
    let mut ours = Vec::new();
    for number in 0..SAMPLES {
        let began = Instant::now();
        let sent = outgoing(number, 512);
        let definition = bus();
        let (published, ()) =
            tokio::join!(node.publish(&definition, &sent), handler.reach(number + 1));
        published.expect("published");
        ours.push(began.elapsed());
    }
    stop(consumers).await;
    node.close().await;
    let raw = Raw::connect(&host.amqp, &host.layout.events(&bus())).await;
    let counter = raw.consume(&[host.queue(&host.listeners[0])]).await;
    let mut theirs = Vec::new();
    for (number, body) in bodies(SAMPLES, 512).iter().enumerate() {
        let began = Instant::now();
        tokio::join!(raw.publish("", body), counter.reach(number + 1));
        theirs.push(began.elapsed());
    }
    time("latency of one event, dispatched and handled", ours, theirs);
    drop(counter);
    host.remove().await;
}

/// The healthy half of a group's events while the other half fails until it is a dead letter,
/// against the AMQP client that sends the failing half through the same wait queues and forgets
/// them then; and against it with nothing failing.
pub(crate) async fn half_failing() {
    const HEALTHY: usize = 2_000;
    let host = Host::with(listeners(1)).await;
    let (mut ours, mut same, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    let (definition, group) = (bus(), host.listeners[0].group.clone());
    let waits: Vec<String> = (0..host.listeners[0].retry.attempts)
        .map(|attempt| host.listeners[0].retry.level_after(attempt))
        .map(|level| host.layout.wait(&definition.name, level))
        .collect();
    let odd = |event: &hearken::bus::event::Event| event.id.ends_with(['1', '3', '5', '7', '9']);
    for _ in 0..ROUNDS {
        let node = host.bus();
        let handler = Counting::new(odd);
        let consumers = host.consume(&node, &handler).await;
        let began = Instant::now();
        tokio::join!(publish_all(&node, HEALTHY * 2, 512), handler.reach(HEALTHY));
        ours.push(began.elapsed());
        quiet(&host).await;
        stop(consumers).await;
        node.close().await;

        let raw = Raw::connect(&host.amqp, &host.layout.events(&bus())).await;
        let queue = host.queue(&host.listeners[0]);
        let (healthy, given_up) = raw.consume_failing(&queue, group.as_str(), waits.clone()).await;
        let mut mixed = bodies(HEALTHY * 2, 512);
        mixed.iter_mut().skip(1).step_by(2).for_each(|body| body.insert(0, FAILS));
        let began = Instant::now();
        tokio::join!(raw.publish_all(&mixed), healthy.reach(HEALTHY));
        same.push(began.elapsed());
        given_up.reach(HEALTHY).await;
        drop(healthy);

        let raw = Raw::connect(&host.amqp, &host.layout.events(&definition)).await;
        let counter = raw.consume(&[queue]).await;
        let bodies = bodies(HEALTHY, 512);
        let began = Instant::now();
        tokio::join!(raw.publish_all(&bodies), counter.reach(HEALTHY));
        plain.push(began.elapsed());
    }
    rate("healthy executions while the other half fails", HEALTHY, ours.clone(), same);
    rate("the same, raw with nothing that fails", HEALTHY, ours, plain);
    host.remove().await;
}

/// Waits until the failing half are dead letters, and forgets them.
async fn quiet(host: &Host) {
    let deadline = Instant::now() + Duration::from_mins(2);
    loop {
        let counts = host.store.dead_letter_counts().await.expect("the store answers");
        if counts.iter().map(|count| count.count).sum::<u64>() >= 2_000 {
            break;
        }
        assert!(Instant::now() < deadline, "the failing half never became dead letters");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let last = host.store.last_dead_letter().await.expect("the store answers");
    let mut rest = Some(PurgeWindow { after: 0, last });
    while let Some(window) = rest {
        let step = host.store.purge_dead_letters(&DeadLetterFilter::default(), window).await;
        rest = step.expect("the store answers").rest;
    }
}

/// Dead letters put back one after the other, as a redelivery does, against raw publishes one after
/// the other.
pub(crate) async fn redelivery() {
    const LETTERS: usize = 500;
    let host = Host::with(listeners(1)).await;
    let node = host.bus();
    let (definition, queue) = (bus(), host.queue(&host.listeners[0]));
    let group = host.listeners[0].group.clone();
    let bodies = bodies(LETTERS, 512);
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    let raw = Raw::connect(&host.amqp, &host.layout.returns(&definition.name)).await;
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for body in &bodies {
            let redelivery = Redelivery {
                group: group.clone(),
                queue: queue.clone(),
                content_type: Some(CLOUDEVENTS_JSON.to_owned()),
                body: body.clone(),
                previous: Uuid::now_v7(),
            };
            node.redeliver(&definition, &redelivery).await.expect("redelivered");
        }
        ours.push(began.elapsed());
        let began = Instant::now();
        for body in &bodies {
            raw.publish(group.as_str(), body).await;
        }
        theirs.push(began.elapsed());
    }
    rate("redeliveries, one after the other", LETTERS, ours, theirs);
    node.close().await;
    host.remove().await;
}
