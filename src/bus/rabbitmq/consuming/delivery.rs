//! One delivery, from the queue to its settlement.

use super::executions::Executions;
use crate::{
    bus::{
        Consumption, Execution, Failure, Listener, codec,
        contain::{contained, execute},
        event::Event,
        rabbitmq::{
            headers,
            held_delivery::{HeldDelivery, Settlement},
            retrying::{DeliveredEvent, Retrying},
            signer::Signer,
        },
    },
    clock::Clock,
};
use lapin::{BasicProperties, message::Delivery, types::ShortString};
use std::{sync::Arc, time::Duration};

/// Runs the deliveries of one listener.
pub(super) struct DeliveryRunner {
    /// What is consumed.
    pub(super) consumption: Arc<Consumption>,
    /// Runs the events.
    pub(super) listener: Arc<dyn Listener>,
    /// The execution slots.
    pub(super) executions: Arc<Executions>,
    /// Handles failures. Absent for a listener on every node, whose events run once and never come
    /// back.
    pub(super) retrying: Option<Retrying>,
    /// Recognises what this process published.
    pub(super) signer: Arc<Signer>,
    /// The clock.
    pub(super) clock: Clock,
}

impl DeliveryRunner {
    /// Runs the events of a delivery and settles it. A delivery whose execution is given up is not
    /// settled: RabbitMQ takes it back when the channel closes.
    pub(super) async fn run(self: Arc<Self>, delivery: Delivery) {
        let delivery = HeldDelivery::new(delivery, &self.clock);
        let Some(_slot) = self.executions.slot().await else { return };
        // RabbitMQ delivers again what lost its channel while it waited for a slot.
        if delivery.is_open() {
            self.executions.until_aborted(Box::pin(self.process(delivery))).await;
        }
    }

    async fn process(&self, delivery: HeldDelivery) {
        let settlement = self.settlement(&delivery).await;
        if let Err(error) = delivery.settle(settlement).await {
            let group = self.group();
            tracing::debug!(
                group,
                %error,
                "the connection of group {group} was lost; its unsettled events are delivered again: {error}"
            );
        }
    }

    async fn settlement(&self, delivery: &HeldDelivery) -> Settlement {
        // False when the delivery waited very long for the executions of a lost channel.
        if !delivery.has_time_for(self.timeout()) {
            return Settlement::Requeue;
        }
        if let Some(retrying) = &self.retrying
            && let Some(rest) = headers::rest(delivery.properties(), self.clock.now())
        {
            return retrying.postpone(delivery, rest).await;
        }
        let content_type = delivery.properties().content_type().as_ref();
        match codec::decode_all(content_type.map(ShortString::as_str), delivery.body()) {
            Ok(events) => self.run_each(delivery, &events).await,
            Err(error) => self.unreadable(delivery, &error.to_string()).await,
        }
    }

    /// Runs the events of one delivery, until each has run or travels on as a copy. Together they
    /// have the time of one execution, because RabbitMQ takes a delivery back after 30 minutes. An
    /// event that has not begun by then travels on alone.
    async fn run_each(&self, delivery: &HeldDelivery, events: &[Event]) -> Settlement {
        if self.consumption.runs_inline() && self.signer.ran_inline(delivery.properties()) {
            return Settlement::Acknowledge;
        }
        let begun = self.clock.monotonic();
        for event in events.iter().filter(|event| !event.noop) {
            // RabbitMQ delivers the message again when its channel is lost.
            if !delivery.is_open() {
                return Settlement::Requeue;
            }
            let late = self.clock.elapsed(begun) >= self.timeout()
                || !delivery.has_time_for(self.timeout());
            let settlement = match &self.retrying {
                Some(retrying) if late => {
                    retrying.run_later(delivery, DeliveredEvent::InBatch(event)).await
                }
                _ => match self.execute(event, delivery.properties()).await {
                    Ok(()) => Settlement::Acknowledge,
                    Err(failure) => {
                        self.failed(delivery, DeliveredEvent::of(event, events), &failure).await
                    }
                },
            };
            if settlement == Settlement::Requeue {
                return Settlement::Requeue;
            }
        }
        Settlement::Acknowledge
    }

    async fn execute(&self, event: &Event, properties: &BasicProperties) -> Result<(), Failure> {
        let spec = &self.consumption.listener;
        let (attempt, now) = (headers::attempt(properties), self.clock.monotonic());
        let execution = Execution {
            published_at: headers::published_at(properties),
            first_failed_at: headers::first_failed_at(properties),
            cancelled: self.executions.cancelled(),
            ..Execution::begin(spec, attempt, now)
        };
        let running = execute(self.listener.as_ref(), event, &execution);
        contained(spec.timeout, running).await
    }

    async fn failed(
        &self,
        delivery: &HeldDelivery,
        event: DeliveredEvent<'_>,
        failure: &Failure,
    ) -> Settlement {
        if let Some(retrying) = &self.retrying {
            return retrying.failed(delivery, event, failure).await;
        }
        let (group, id, cause) = (self.group(), &event.event().id, failure.to_string());
        tracing::warn!(
            group,
            event = id,
            cause,
            "group {group} failed on event {id}, which every node gets once: {cause}"
        );
        Settlement::Acknowledge
    }

    /// Parks a message that cannot be read. A message to every node is only logged: each node would
    /// park it.
    async fn unreadable(&self, delivery: &HeldDelivery, cause: &str) -> Settlement {
        let group = self.group();
        tracing::warn!(
            group,
            cause,
            "group {group} got a message that cannot be read as an event: {cause}"
        );
        match &self.retrying {
            Some(retrying) => retrying.park(delivery, cause).await,
            None => Settlement::Acknowledge,
        }
    }

    fn group(&self) -> &str {
        self.consumption.listener.group.as_str()
    }

    fn timeout(&self) -> Duration {
        self.consumption.listener.timeout.duration()
    }
}
