//! Settling a delivery after its execution.

use super::queue::LocalQueue;
use crate::{
    bus::{
        Failure,
        event::Event,
        verdict::{Verdict, random, verdict},
    },
    domain::dead_letter::{DeadLetter, FailureFacts, bounded_cause},
    error_chain::error_chain,
    outage::Outage,
    store::{StoreError, embedded::LocalDelivery},
};
use std::time::{Duration, Instant};
use tracing::warn;
use uuid::Uuid;

/// First pause after the store did not take an outcome. The pauses grow from here.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Longest pause after the store did not take an outcome.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Outcome of a delivery.
pub(super) enum ExecutionOutcome {
    /// The delivery ends.
    Done,
    /// The delivery runs again after this pause.
    Retry(Duration),
    /// The delivery ends, and its event is kept as this dead letter.
    GivenUp(Box<DeadLetter>),
}

impl ExecutionOutcome {
    /// Outcome of an execution that ended with `result`.
    pub(super) fn judge(
        queue: &LocalQueue,
        delivery: &LocalDelivery,
        event: &Event,
        result: Result<(), Failure>,
    ) -> Self {
        let Err(failure) = result else { return Self::Done };
        let listener = &queue.consumption.listener;
        let (group, id, cause) =
            (listener.group.as_str(), event.id.as_str(), bounded_cause(failure.to_string()));
        let attempt = delivery.attempt;
        match verdict(&listener.retry, attempt, &failure, random()) {
            Verdict::Retry { pause, .. } => {
                warn!(
                    group,
                    event.id = id,
                    attempt,
                    pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX),
                    "group {group} failed on event {id} (execution {attempt}) and tries again in {pause:?}: {cause}"
                );
                Self::Retry(pause)
            }
            Verdict::DeadLetter => {
                let attempts = attempt.saturating_add(1);
                let facts = FailureFacts { attempts, ..facts(queue, delivery, cause) };
                let letter = DeadLetter::of_group(listener.group.clone(), event, facts);
                let (dead_letter, cause) = (letter.id, &letter.cause);
                warn!(
                    group,
                    event.id = id,
                    attempts,
                    %dead_letter,
                    cause,
                    "group {group} gave up event {id} after {attempts} executions; it is kept as dead letter {dead_letter}: {cause}"
                );
                Self::GivenUp(Box::new(letter))
            }
        }
    }

    /// Outcome of a delivery that cannot be read as an event. It is parked as a dead letter, where
    /// an administrator sees it.
    pub(super) fn unreadable(queue: &LocalQueue, delivery: &LocalDelivery, problem: &str) -> Self {
        let group = &queue.consumption.listener.group;
        let facts = facts(queue, delivery, problem.to_owned());
        let letter = DeadLetter::parked(Some(group.clone()), None, facts);
        let (dead_letter, cause) = (letter.id, &letter.cause);
        warn!(
            %group,
            %dead_letter,
            cause,
            "a delivery to group {group} cannot be read as an event; it is kept as dead letter {dead_letter}: {cause}"
        );
        Self::GivenUp(Box::new(letter))
    }
}

/// Facts about a failed delivery. It was executed as often as its attempt says.
fn facts(queue: &LocalQueue, delivery: &LocalDelivery, cause: String) -> FailureFacts {
    FailureFacts {
        id: Uuid::now_v7(),
        bus: queue.consumption.bus.name.clone(),
        content_type: delivery.content_type.clone(),
        cause,
        attempts: delivery.attempt,
        first_failed_at: delivery.first_failed_at,
        last_failed_at: queue.clock.now(),
        node: queue.node.to_string(),
        previous: delivery.previous,
    }
}

/// Records the outcome, and tries until the store takes it: the delivery stays claimed meanwhile,
/// so it does not run twice in this process. Returns the time at which it is due again, if it is.
pub(super) async fn settle(
    queue: &LocalQueue,
    delivery: &LocalDelivery,
    outcome: ExecutionOutcome,
) -> Option<Instant> {
    let mut outcome = outcome;
    let mut recorded = record(queue, delivery, &outcome).await;
    if let Err(error @ StoreError::DeadLettersFull { .. }) = &recorded {
        outcome = postponed(queue, error);
        recorded = record(queue, delivery, &outcome).await;
    }
    if let Err(error) = recorded {
        record_later(queue, delivery, &outcome, error).await;
    }
    match outcome {
        ExecutionOutcome::Retry(pause) => Some(queue.clock.monotonic() + pause),
        ExecutionOutcome::Done | ExecutionOutcome::GivenUp(_) => None,
    }
}

/// Outcome of a delivery whose dead letter the quota of the group refused. The event stays in the
/// queue, and the slot of the execution is free for events that can run.
fn postponed(queue: &LocalQueue, refusal: &StoreError) -> ExecutionOutcome {
    let listener = &queue.consumption.listener;
    let (group, pause) = (&listener.group, listener.retry.max.duration());
    warn!(
        %group,
        error = %refusal,
        "a failed event of group {group} is not kept as a dead letter, so it stays in the queue and runs again in {pause:?}: {refusal}"
    );
    ExecutionOutcome::Retry(pause)
}

/// Records an outcome that the store did not take at first, with growing pauses.
async fn record_later(
    queue: &LocalQueue,
    delivery: &LocalDelivery,
    outcome: &ExecutionOutcome,
    error: StoreError,
) {
    let group = &queue.consumption.listener.group;
    let failing = format!(
        "the outcome of an event of group {group} cannot be recorded; hearken tries until it is"
    );
    let recovered = format!("the outcome of an event of group {group} is recorded");
    let mut outage =
        Outage::new(&queue.clock, failing, recovered).with_pauses(FIRST_PAUSE, LONGEST_PAUSE);
    let mut recorded = Err(error);
    while let Err(error) = recorded {
        tokio::time::sleep(outage.failed(&error_chain(&error))).await;
        recorded = record(queue, delivery, outcome).await;
    }
    outage.over();
}

async fn record(
    queue: &LocalQueue,
    delivery: &LocalDelivery,
    outcome: &ExecutionOutcome,
) -> Result<(), StoreError> {
    let store = &queue.store;
    match outcome {
        ExecutionOutcome::Done => store.done(delivery.seq).await,
        ExecutionOutcome::Retry(pause) => {
            let attempt = delivery.attempt.saturating_add(1);
            store.postpone(delivery.seq, *pause, attempt).await
        }
        ExecutionOutcome::GivenUp(letter) => {
            store.give_up(delivery.seq, letter, &delivery.body).await?;
            queue.metrics.dead_lettered(&letter.bus, &letter.group);
            Ok(())
        }
    }
}
