//! One delivery, from the queue to its acknowledgement.

use super::{
    Message, Published,
    consumer::Work,
    message::{attempt, parked, pause, retried},
    outage::pauses,
};
use crate::bus::{Execution, Failure, codec, event::Event};
use futures_util::FutureExt;
use lapin::{
    BasicProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
    types::ShortString,
};
use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::{sleep, timeout};

/// How long an event is held whose copy nobody takes, before it goes back to its queue. Well below
/// the 30 minutes that RabbitMQ allows a consumer. Going back costs one of the few deliveries that
/// the queue allows an event, so it is the last resort.
const HOLD: Duration = Duration::from_mins(10);

impl Work {
    /// Runs an event and settles its delivery. An event that is given up is neither acknowledged
    /// nor refused: RabbitMQ takes it back when the channel closes.
    pub(super) async fn settle(self: Arc<Self>, delivery: Delivery) {
        let slot = tokio::select! {
            () = self.stop.cancelled() => return,
            slot = self.slots.acquire() => slot,
        };
        // What was lost with its channel while it waited is delivered again.
        if delivery.acker.usable() {
            tokio::select! {
                () = self.abort.cancelled() => {}
                () = self.process(&delivery) => {}
            }
        }
        drop(slot);
    }

    async fn process(&self, delivery: &Delivery) {
        let content_type = delivery.properties.content_type().as_ref().map(ShortString::as_str);
        let settled = match codec::decode_all(content_type, &delivery.data) {
            Ok(events) => self.run_all(delivery, &events).await,
            Err(error) => self.park(delivery, &error.to_string()).await,
        };
        let acker = &delivery.acker;
        let answered = if settled {
            acker.ack(BasicAckOptions::default()).await
        } else {
            acker.nack(BasicNackOptions { requeue: true, ..BasicNackOptions::default() }).await
        };
        if let Err(error) = answered {
            tracing::debug!(%error, "the connection of group {} was lost; what it had in hand is delivered again", self.group());
        }
    }

    /// Runs the events of one delivery. Returns whether it can be acknowledged: each event has run
    /// or travels on as a copy.
    async fn run_all(&self, delivery: &Delivery, events: &[Event]) -> bool {
        let attempt = attempt(&delivery.properties);
        let listener = &self.consumption.listener;
        for event in events.iter().filter(|event| !event.noop) {
            let Err(failure) = self.execute(event, attempt).await else { continue };
            let cause = failure.cause.as_str();
            if self.consumption.every_node() {
                tracing::warn!(
                    event = event.id,
                    cause,
                    "group {} failed on event {}, which every node gets once: {cause}",
                    self.group(),
                    event.id
                );
                continue;
            }
            let level = pause(&listener.retry, attempt, failure.retry_after);
            let (group, id) = (self.group(), event.id.as_str());
            if attempt <= listener.retry.attempts {
                let used_up = if attempt == listener.retry.attempts {
                    "; its attempts are used up"
                } else {
                    ""
                };
                tracing::warn!(
                    group,
                    event = id,
                    attempt,
                    "group {group} failed on event {id} and tries again in {level} ms{used_up}: {cause}"
                );
            } else {
                tracing::debug!(
                    group,
                    event = id,
                    attempt,
                    "group {group} still fails on event {id}: {cause}"
                );
            }
            let mut properties = retried(&delivery.properties, &listener.group, cause);
            let body = if events.len() == 1 {
                delivery.data.clone()
            } else {
                // Of several events in one body only those that failed run again.
                properties = properties.with_content_type(codec::CLOUDEVENTS_JSON.into());
                codec::encode_cloudevent(event)
            };
            let exchange = self.shared.layout.wait(&listener.bus, level);
            if !self.hand_over(delivery, &exchange, body, properties).await {
                return false;
            }
        }
        true
    }

    async fn execute(&self, event: &Event, attempt: u32) -> Result<(), Failure> {
        let listener = &self.consumption.listener;
        let execution =
            Execution { group: listener.group.clone(), bus: listener.bus.clone(), attempt };
        // A panic is a failure of this event, not of the consumer.
        let running = AssertUnwindSafe(self.handler.handle(event, &execution)).catch_unwind();
        match timeout(listener.timeout.duration(), running).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Failure::new("the listener panicked")),
            Err(_) => Err(Failure::new(format!("it did not finish within {}", listener.timeout))),
        }
    }

    /// Puts aside what is no event. Every node of an every-node listener gets it, so it is only
    /// said there.
    async fn park(&self, delivery: &Delivery, cause: &str) -> bool {
        let listener = &self.consumption.listener;
        tracing::warn!(cause, "group {} got something that is no event: {cause}", self.group());
        if self.consumption.every_node() {
            return true;
        }
        let properties = parked(&delivery.properties, &listener.group, cause);
        let exchange = self.shared.layout.parked(&listener.bus);
        self.hand_over(delivery, &exchange, delivery.data.clone(), properties).await
    }

    /// Publishes a copy until the broker has it. Meanwhile the original and its place among the
    /// executions are kept, so that a group whose events all fail pauses instead of spinning.
    /// Returns whether the original can be acknowledged.
    async fn hand_over(
        &self,
        original: &Delivery,
        exchange: &str,
        body: Vec<u8>,
        properties: BasicProperties,
    ) -> bool {
        let Ok(key) = ShortString::try_new(self.group()) else { return false };
        let copy = Message::new(key, body, properties);
        let deadline = Instant::now() + HOLD;
        let mut wake = self.shared.wake.subscribe();
        let mut pauses = pauses(Duration::from_millis(500), Duration::from_secs(30));
        let mut warned = false;
        loop {
            let cause = match self.shared.publisher.publish(exchange, copy.clone()).await {
                Ok(Published::Routed) => return true,
                Ok(Published::Returned) => format!("no queue is bound to exchange {exchange}"),
                Err(error) => error.to_string(),
            };
            if !std::mem::replace(&mut warned, true) {
                tracing::warn!(
                    exchange,
                    cause,
                    "group {} keeps an event because exchange {exchange} does not take its copy: {cause}",
                    self.group()
                );
            }
            // The broker hands the original out again when its channel is gone.
            if Instant::now() >= deadline || !original.acker.usable() {
                return false;
            }
            tokio::select! {
                () = self.stop.cancelled() => return false,
                () = sleep(pauses.next().unwrap_or(HOLD)) => {}
                _ = wake.changed() => {}
            }
        }
    }
}
