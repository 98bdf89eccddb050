//! What becomes of a delivery after its execution.

use super::work::LocalQueue;
use crate::{
    bus::{
        Failure,
        event::Event,
        verdict::{Verdict, random, verdict},
    },
    clock,
    domain::{
        dead_letter::{DeadLetter, PARKED},
        name::GroupName,
    },
    store::{StoreError, embedded::LocalDelivery},
};
use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};
use tracing::{info, warn};
use uuid::Uuid;

/// The first pause after the store did not take an outcome; each next one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest cause that is kept, in bytes.
const MAX_CAUSE: usize = 4096;

/// What becomes of a delivery.
pub(super) enum ExecutionOutcome {
    /// It is done.
    Done,
    /// It runs again after this pause.
    Again(Duration),
    /// It is given up, and its event kept.
    GivenUp(Box<DeadLetter>),
}

impl ExecutionOutcome {
    /// Of an execution.
    pub(super) fn of(
        queue: &LocalQueue,
        delivery: &LocalDelivery,
        event: &Event,
        result: Result<(), Failure>,
    ) -> Self {
        let Err(failure) = result else { return Self::Done };
        let listener = &queue.consumption.listener;
        let (group, id, cause) =
            (listener.group.as_str(), event.id.as_str(), bounded(&failure.to_string()));
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
                Self::Again(pause)
            }
            Verdict::DeadLetter => {
                let attempts = attempt.saturating_add(1);
                let letter = DeadLetter {
                    event_id: Some(event.id.clone()),
                    event_type: Some(event.kind.clone()),
                    user: event.user.clone(),
                    attempts,
                    ..letter(queue, delivery, listener.group.clone(), cause)
                };
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

    /// Of a delivery that is no event: it waits where an administrator sees it.
    pub(super) fn unreadable(queue: &LocalQueue, delivery: &LocalDelivery, problem: &str) -> Self {
        let group = &queue.consumption.listener.group;
        let parked = GroupName::parse(PARKED).expect("the reserved name is a name");
        let letter = DeadLetter {
            origin: Some(group.clone()),
            ..letter(queue, delivery, parked, bounded(problem))
        };
        let (dead_letter, cause) = (letter.id, &letter.cause);
        warn!(
            %group,
            %dead_letter,
            cause,
            "group {group} got something that is no event, which is kept as dead letter {dead_letter}: {cause}"
        );
        Self::GivenUp(Box::new(letter))
    }
}

/// An entry of which only the delivery is known. It was executed as often as its attempt says.
fn letter(
    queue: &LocalQueue,
    delivery: &LocalDelivery,
    group: GroupName,
    cause: String,
) -> DeadLetter {
    let now = clock::now();
    DeadLetter {
        id: Uuid::now_v7(),
        bus: queue.consumption.bus.name.clone(),
        group,
        origin: None,
        event_id: None,
        event_type: None,
        user: None,
        content_type: delivery.content_type.clone(),
        // They were told when the event was dispatched.
        keys: BTreeSet::new(),
        cause,
        attempts: delivery.attempt,
        first_failed_at: delivery.first_failed_at.unwrap_or(now),
        last_failed_at: now,
        node: queue.node.to_string(),
        previous: delivery.previous,
    }
}

fn bounded(cause: &str) -> String {
    cause[..cause.floor_char_boundary(MAX_CAUSE)].to_owned()
}

/// Records the outcome, however long that takes: while the store is away the delivery stays in
/// hand, so it does not run twice in this process. Returns when it is due again, if it is.
pub(super) async fn settle(
    queue: &LocalQueue,
    delivery: &LocalDelivery,
    outcome: ExecutionOutcome,
) -> Option<Instant> {
    let group = queue.consumption.listener.group.as_str();
    let mut pause = FIRST_PAUSE;
    while let Err(problem) = record(queue, delivery, &outcome).await {
        if pause == FIRST_PAUSE {
            warn!(group, %problem, "the outcome of an event of group {group} cannot be recorded, which is tried until it is: {problem}");
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
    if pause > FIRST_PAUSE {
        info!(group, "the outcome of an event of group {group} is recorded");
    }
    match outcome {
        ExecutionOutcome::Again(pause) => Some(Instant::now() + pause),
        ExecutionOutcome::Done | ExecutionOutcome::GivenUp(_) => None,
    }
}

async fn record(
    queue: &LocalQueue,
    delivery: &LocalDelivery,
    outcome: &ExecutionOutcome,
) -> Result<(), StoreError> {
    let store = &queue.store;
    match outcome {
        ExecutionOutcome::Done => store.done(delivery.seq).await,
        ExecutionOutcome::Again(pause) => {
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
