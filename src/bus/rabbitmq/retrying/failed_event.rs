//! The next step of an event that failed or cannot run now.
//!
//! While the database is away, an event that is given up waits for the longest pause of its
//! listener and has the same attempt again, so that it lies in the broker meanwhile and not in
//! memory.

use super::{
    copy::{self, FailedExecution},
    copy_publisher::CopyPublisher,
    delivered_event::DeliveredEvent,
};
use crate::{
    bus::{
        Failure,
        rabbitmq::{
            headers,
            held_delivery::{HeldDelivery, Settlement},
            keeping::{DeadLetterKeeper, FailureOccasion, entry_id},
        },
        verdict::{Verdict, random, verdict},
    },
    clock::Clock,
    domain::{
        dead_letter::{DeadLetter, FailureFacts},
        layout::Layout,
        listener::ListenerSpec,
    },
};
use lapin::BasicProperties;
use std::{sync::Arc, time::Duration};

/// Decides for the events of one listener, and carries the decision out.
pub(crate) struct Retrying {
    /// The listener.
    pub(crate) listener: ListenerSpec,
    /// Names the wait exchanges.
    pub(crate) layout: Layout,
    /// Publishes the copies.
    pub(crate) copies: CopyPublisher,
    /// Keeps the dead letters.
    pub(crate) keeper: Arc<DeadLetterKeeper>,
    /// This node.
    pub(crate) node: String,
    /// The clock.
    pub(crate) clock: Clock,
}

impl Retrying {
    /// Handles a failure: the event runs again after a pause, or becomes a dead letter.
    pub(crate) async fn failed(
        &self,
        delivery: &HeldDelivery,
        event: DeliveredEvent<'_>,
        failure: &Failure,
    ) -> Settlement {
        let properties = delivery.properties();
        let attempt = headers::attempt(properties);
        let (group, cause) = (&self.listener.group, &*failure.to_string());
        let now = self.clock.now();
        let first_at = headers::first_failed_at(properties).unwrap_or(now);
        let failed = FailedExecution { group, cause, first_at };
        match verdict(&self.listener.retry, attempt, failure, random()) {
            Verdict::Retry { level, not_before, .. } => {
                let id = &event.event().id;
                tracing::warn!(
                    %group,
                    event = id,
                    attempt,
                    cause,
                    "group {group} failed on event {id} and tries again in {level} ms: {cause}"
                );
                let not_before = not_before.map(|pause| now + pause);
                self.wait(delivery, event, level, failed.retried(properties, not_before)).await
            }
            Verdict::DeadLetter => self.give_up(delivery, event, &failed).await,
        }
    }

    /// Sends a message back to a wait queue that came before its time. No event has run, so this is
    /// no attempt.
    pub(crate) async fn postpone(&self, delivery: &HeldDelivery, rest: Duration) -> Settlement {
        let level = self.listener.retry.level_for(rest);
        let exchange = self.layout.wait(&self.listener.bus, level);
        let properties = copy::postponed(delivery.properties());
        self.copies.publish(delivery, &exchange, delivery.body().into(), properties).await
    }

    /// Sends an event of a batch to the shortest wait, because the time of the batch is over. The
    /// event has not run, so this is no attempt.
    pub(crate) async fn run_later(
        &self,
        delivery: &HeldDelivery,
        event: DeliveredEvent<'_>,
    ) -> Settlement {
        let level = self.listener.retry.level_for(Duration::ZERO);
        self.wait(delivery, event, level, copy::postponed(delivery.properties())).await
    }

    /// Parks a message that cannot be read as an event.
    pub(crate) async fn park(&self, delivery: &HeldDelivery, cause: &str) -> Settlement {
        let properties = copy::parked(delivery.properties(), &self.listener.group, cause);
        let exchange = self.layout.parked(&self.listener.bus);
        self.copies.publish(delivery, &exchange, delivery.body().into(), properties).await
    }

    /// Keeps an event as a dead letter. While that is not possible, the event waits and runs again.
    async fn give_up(
        &self,
        delivery: &HeldDelivery,
        event: DeliveredEvent<'_>,
        failed: &FailedExecution<'_>,
    ) -> Settlement {
        let body = event.body(delivery.body());
        let letter = self.dead_letter(delivery, event, &body, failed);
        let (id, dead_letter) = (&event.event().id, letter.id);
        let FailedExecution { group, cause, .. } = failed;
        match self.keeper.keep(&letter, &body).await {
            Ok(_) => {
                let attempts = letter.attempts;
                tracing::warn!(
                    %group,
                    event = id,
                    attempts,
                    cause,
                    %dead_letter,
                    "group {group} gave up event {id} after {attempts} executions; it is kept as dead letter {dead_letter}: {cause}"
                );
                Settlement::Acknowledge
            }
            Err(error) => {
                tracing::debug!(
                    %group,
                    event = id,
                    %error,
                    "group {group} runs event {id} again because its dead letter cannot be kept: {error}"
                );
                let level = self.listener.retry.longest_level();
                let properties = failed.unkept(delivery.properties(), dead_letter);
                self.wait(delivery, event, level, properties).await
            }
        }
    }

    /// The dead letter. The same failure has the same id when it is met again after a crash.
    fn dead_letter(
        &self,
        delivery: &HeldDelivery,
        event: DeliveredEvent<'_>,
        body: &[u8],
        failed: &FailedExecution<'_>,
    ) -> DeadLetter {
        let (group, properties) = (failed.group, delivery.properties());
        let occasion = FailureOccasion::of(properties);
        let new_id = || {
            let (group, event) = (group.as_str().as_bytes(), event.event().id.as_bytes());
            entry_id([group, event, &occasion.time, &occasion.previous, body])
        };
        let facts = FailureFacts {
            id: headers::id(properties, headers::LETTER).unwrap_or_else(new_id),
            bus: self.listener.bus.clone(),
            content_type: event.content_type(properties),
            cause: failed.cause.to_owned(),
            attempts: headers::attempt(properties).saturating_add(1),
            first_failed_at: Some(failed.first_at),
            last_failed_at: self.clock.now(),
            node: self.node.clone(),
            previous: headers::id(properties, headers::PREVIOUS),
        };
        DeadLetter::of_group(group.clone(), event.event(), facts)
    }

    /// Sends the copy of an event to wait.
    async fn wait(
        &self,
        delivery: &HeldDelivery,
        event: DeliveredEvent<'_>,
        level: u64,
        properties: BasicProperties,
    ) -> Settlement {
        let exchange = self.layout.wait(&self.listener.bus, level);
        let properties = event.with_content_type(properties);
        let body = event.body(delivery.body()).into();
        self.copies.publish(delivery, &exchange, body, properties).await
    }
}
