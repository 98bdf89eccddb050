//! One listener on this node.

use super::making::{ListenerMaker, UnfinishedListener};
use crate::{
    bus::{Consumer, ConsumerState, Execution, Failure, Listener, event::Event},
    clock::Clock,
    domain::{
        listener::ListenerSpec,
        name::ClassName,
        report::{ListenerState, ListenerStatus},
    },
    error_chain::error_chain,
    listeners::MakeError,
    metrics::Metrics,
    outage::{Outage, Reporting},
};
use async_trait::async_trait;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// First pause before the node tries again to make a listener. Meanwhile a missing file may appear,
/// or a name may resolve.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// Longest pause before the node tries again to make a listener.
const LONGEST_PAUSE: Duration = Duration::from_secs(15);

/// A listener that this node must run on one queue.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Assignment {
    pub(super) listener: ListenerSpec,
    /// Whether the listener was removed and its queue is consumed until it is empty.
    pub(super) draining: bool,
}

/// Reason why a listener cannot run on this node.
#[derive(Debug, thiserror::Error)]
pub(super) enum CannotRun {
    /// The catalog does not have the class.
    #[error("this node knows no class {0}")]
    UnknownClass(ClassName),
    /// The class could not make the listener.
    #[error(transparent)]
    NotMade(#[from] MakeError),
    /// The class has not returned the listener yet.
    #[error(
        "its class has not made it within {0:?}; the listener starts when the class returns it"
    )]
    Late(Duration),
}

/// The supervisor's record of one assignment.
pub(super) struct Worker {
    pub(super) assignment: Assignment,
    pub(super) consumer: Option<Consumer>,
    pub(super) status: ListenerStatus,
    /// Time of the next try to make the listener.
    retry_at: Instant,
    unfinished: Option<UnfinishedListener>,
    outage: Outage,
}

impl Worker {
    pub(super) fn new(assignment: Assignment, clock: &Clock) -> Self {
        let ListenerSpec { group, class, .. } = &assignment.listener;
        let status = ListenerStatus {
            group: group.clone(),
            class: class.clone(),
            state: ListenerState::Starting,
            cause: None,
            since: clock.now(),
        };
        let failing = format!(
            "listener {group} of class {class} cannot run on this node, and its events wait; hearken tries again"
        );
        let recovered = format!("listener {group} of class {class} can run on this node again");
        let outage = Outage::new(clock, failing, recovered)
            .reporting(Reporting::EachCause)
            .with_pauses(FIRST_PAUSE, LONGEST_PAUSE);
        let retry_at = clock.monotonic();
        Self { assignment, consumer: None, status, retry_at, unfinished: None, outage }
    }

    /// Whether the listener has no consumer and it is time to make the listener.
    pub(super) fn is_due(&self, clock: &Clock) -> bool {
        self.consumer.is_none() && self.retry_at <= clock.monotonic()
    }

    /// Takes over the state of the consumer. Returns whether the consumer just stopped running.
    pub(super) fn refresh(&mut self, now: OffsetDateTime) -> bool {
        let Some(consumer) = &self.consumer else { return false };
        let before = self.status.state;
        let state = consumer.state.borrow().clone();
        match state {
            ConsumerState::Running => self.enter(ListenerState::Running, None, now),
            ConsumerState::Waiting(cause) => self.enter(ListenerState::Starting, Some(cause), now),
        }
        before == ListenerState::Running && self.status.state != ListenerState::Running
    }

    /// Enters a state. `since` changes with the state, and not with the cause.
    pub(super) fn enter(
        &mut self,
        state: ListenerState,
        cause: Option<String>,
        now: OffsetDateTime,
    ) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = now;
        }
        self.status.cause = cause;
    }

    /// Makes the listener, or goes on making it. `None` while its class has time left.
    pub(super) fn make(
        &mut self,
        maker: &ListenerMaker,
        clock: &Clock,
    ) -> Option<Result<Arc<dyn Listener>, CannotRun>> {
        let spec = &self.assignment.listener;
        let unfinished = self.unfinished.get_or_insert_with(|| maker.begin(spec.clone(), clock));
        let outcome = unfinished.poll(clock)?;
        // A class that is late is not asked a second time.
        if !matches!(outcome, Err(CannotRun::Late(_))) {
            self.unfinished = None;
        }
        if outcome.is_ok() {
            self.outage.over();
        }
        Some(outcome)
    }

    /// Notes that the listener could not be made.
    pub(super) fn note_failure(&mut self, error: &CannotRun, clock: &Clock) {
        let state = match error {
            CannotRun::UnknownClass(_) => ListenerState::UnknownClass,
            CannotRun::NotMade(_) | CannotRun::Late(_) => ListenerState::Failed,
        };
        let cause = error_chain(error);
        self.retry_at = clock.monotonic() + self.outage.failed(&cause);
        self.enter(state, Some(cause), clock.now());
    }
}

/// A listener whose executions are counted.
pub(super) struct Counted {
    pub(super) listener: Arc<dyn Listener>,
    pub(super) metrics: Arc<Metrics>,
}

#[async_trait]
impl Listener for Counted {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        let running = self.metrics.execution(
            &execution.bus,
            &execution.group,
            execution.attempt,
            execution.first_failed_at.or(execution.published_at),
        );
        let result = self.listener.on_event(event, execution).await;
        if result.is_ok() {
            running.handled();
        }
        result
    }
}
