//! One delivery, from the queue to its acknowledgement.
//!
//! An event that fails travels on as a copy: through a wait queue to its next attempt, or into the
//! database as a dead letter. The original is acknowledged when the copy is safe. While the database
//! is away, an event that is given up waits as long as its listener allows and has the same attempt
//! again, so that it lies in the broker meanwhile and not in memory.

use super::{
    Message, Published,
    consumer::Consuming,
    headers,
    message::{Failed, parked, waiting},
};
use crate::{
    bus::{
        Execution, Failure,
        codec::{self, CLOUDEVENTS_JSON},
        contain::{contained, execute},
        event::Event,
        verdict::{Verdict, random, verdict},
    },
    clock,
    outage::pauses,
};
use lapin::{
    BasicProperties,
    message::Delivery,
    options::{BasicAckOptions, BasicNackOptions},
    types::ShortString,
};
use std::{
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// How long an event is held whose copy nobody takes, before it goes back to its queue. Well below
/// the 30 minutes that RabbitMQ allows a consumer. Going back costs one of the few deliveries that
/// the queue allows an event, so it is the last resort.
const HOLD: Duration = Duration::from_mins(10);

/// How long a delivery is held in all, below the 30 minutes after which RabbitMQ closes the channel
/// and hands out everything anew that came over it.
const HELD: Duration = Duration::from_mins(28);

/// A delivery that this node has.
struct InHand {
    delivery: Delivery,
    since: Instant,
}

impl Deref for InHand {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

impl Consuming {
    /// Runs an event and settles its delivery. An event that is given up is neither acknowledged
    /// nor refused: RabbitMQ takes it back when the channel closes.
    pub(super) async fn settle(self: Arc<Self>, delivery: Delivery) {
        let delivery = InHand { delivery, since: Instant::now() };
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

    async fn process(&self, delivery: &InHand) {
        let content_type = delivery.properties.content_type().as_ref().map(ShortString::as_str);
        // A listener on every node has no wait queues, and its events never come back.
        let rest = headers::rest(&delivery.properties).filter(|_| !self.consumption.every_node());
        let settled = if delivery.since.elapsed() + self.timeout() > HELD {
            // It waited so long for the executions of a lost channel.
            false
        } else if let Some(rest) = rest {
            self.wait_again(delivery, rest).await
        } else {
            match codec::decode_all(content_type, &delivery.data) {
                Ok(events) => self.run_all(delivery, &events).await,
                Err(error) => self.park(delivery, &error.to_string()).await,
            }
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
    /// or travels on as a copy. Together they have the time of one execution, because RabbitMQ takes
    /// a delivery back after 30 minutes; what has not begun then travels on alone.
    async fn run_all(&self, delivery: &InHand, events: &[Event]) -> bool {
        if self.runs_inline() && self.shared.ran_inline(&delivery.properties) {
            return true;
        }
        let begun = Instant::now();
        for event in events.iter().filter(|event| !event.noop) {
            // The broker hands the original out again when its channel is gone.
            if !delivery.acker.usable() {
                return false;
            }
            let late = begun.elapsed() >= self.timeout()
                || delivery.since.elapsed() + self.timeout() > HELD;
            if late && !self.consumption.every_node() {
                let level = self.consumption.listener.retry.level_for(Duration::ZERO);
                let properties = waiting(&delivery.properties);
                if self.wait(delivery, (event, false), level, properties).await {
                    continue;
                }
                return false;
            }
            let Err(failure) = self.execute(event, &delivery.properties).await else { continue };
            if self.consumption.every_node() {
                let (group, cause) = (self.group(), failure.to_string());
                tracing::warn!(
                    group,
                    event = event.id,
                    cause,
                    "group {group} failed on event {}, which every node gets once: {cause}",
                    event.id
                );
            } else if !self.failed(delivery, (event, events.len() == 1), &failure).await {
                return false;
            }
        }
        true
    }

    fn timeout(&self) -> Duration {
        self.consumption.listener.timeout.duration()
    }

    async fn execute(&self, event: &Event, properties: &BasicProperties) -> Result<(), Failure> {
        let listener = &self.consumption.listener;
        let execution = Execution {
            published_at: headers::published_at(properties),
            first_failed_at: headers::first_failed_at(properties),
            cancelled: self.abort.child_token(),
            ..Execution::begin(listener, headers::attempt(properties), Instant::now())
        };
        let running = execute(self.handler.as_ref(), event, &execution);
        contained(listener.timeout, running).await
    }

    /// Sends an event that failed where it belongs. `event` says whether it travelled alone.
    async fn failed(&self, delivery: &InHand, event: (&Event, bool), failure: &Failure) -> bool {
        let (properties, retry) = (&delivery.properties, &self.consumption.listener.retry);
        let attempt = headers::attempt(properties);
        let cause = &*failure.to_string();
        let group = &self.consumption.listener.group;
        let first_at = headers::first_failed_at(properties).unwrap_or_else(clock::now);
        let failed = Failed { group, cause, first_at };
        match verdict(retry, attempt, failure, random()) {
            Verdict::Retry { level, not_before, .. } => {
                tracing::warn!(
                    %group,
                    event = event.0.id,
                    attempt,
                    cause,
                    "group {group} failed on event {} and tries again in {level} ms: {cause}",
                    event.0.id
                );
                self.wait(delivery, event, level, failed.retried(properties, not_before)).await
            }
            Verdict::DeadLetter => self.give_up(delivery, event, &failed).await,
        }
    }

    /// Keeps an event as a dead letter, or sends it round once more.
    async fn give_up(&self, delivery: &InHand, event: (&Event, bool), failed: &Failed<'_>) -> bool {
        let (letter, body) = self.letter(delivery, event, failed.cause, failed.first_at);
        let (group, id, attempts, cause) =
            (failed.group, &event.0.id, letter.attempts, failed.cause);
        match self.shared.letters.keep(&letter, &body).await {
            Ok(_) => {
                tracing::warn!(
                    %group,
                    event = id,
                    attempts,
                    cause,
                    dead_letter = %letter.id,
                    "group {group} gave up event {id} after {attempts} executions; it is kept as dead letter {}: {cause}",
                    letter.id
                );
                true
            }
            Err(problem) => {
                tracing::debug!(%group, event = id, problem, "group {group} runs event {id} again because it cannot be kept: {problem}");
                let level = self.consumption.listener.retry.longest_level();
                let properties = failed.unkept(&delivery.properties, letter.id);
                self.wait(delivery, event, level, properties).await
            }
        }
    }

    /// Sends an event back to wait that came before its time. It has not run, so this is no
    /// attempt.
    async fn wait_again(&self, delivery: &InHand, rest: Duration) -> bool {
        let listener = &self.consumption.listener;
        let level = listener.retry.level_for(rest);
        let exchange = self.shared.layout.wait(&listener.bus, level);
        let properties = waiting(&delivery.properties);
        self.hand_over(delivery, &exchange, delivery.data.clone(), properties).await
    }

    /// Sends a copy of an event to wait. Of several events in one body only this one travels on.
    async fn wait(
        &self,
        delivery: &InHand,
        (event, alone): (&Event, bool),
        level: u64,
        mut properties: BasicProperties,
    ) -> bool {
        let body = if alone {
            delivery.data.clone()
        } else {
            properties = properties.with_content_type(CLOUDEVENTS_JSON.into());
            codec::encode_cloudevent(event)
        };
        let exchange = self.shared.layout.wait(&self.consumption.listener.bus, level);
        self.hand_over(delivery, &exchange, body, properties).await
    }

    /// Puts aside what is no event. Every node of an every-node listener gets it, so it is only
    /// said there.
    async fn park(&self, delivery: &InHand, cause: &str) -> bool {
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
        original: &InHand,
        exchange: &str,
        body: Vec<u8>,
        properties: BasicProperties,
    ) -> bool {
        let Ok(key) = ShortString::try_new(self.group()) else { return false };
        // The original is handed out again, and its copy would be one too many.
        if !original.acker.usable() {
            return false;
        }
        let copy = Message::new(key, body, properties);
        let deadline = (Instant::now() + HOLD).min(original.since + HELD);
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
