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
use parking_lot::RwLock;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

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
    /// Whether the listener is paused: nothing is consumed.
    pub(super) paused: bool,
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

/// A consumer of this node, with the settings that it runs with.
pub(super) struct ActiveConsumer {
    pub(super) assignment: Assignment,
    pub(super) consumer: Consumer,
    pub(super) listener: Arc<Counted>,
}

impl ActiveConsumer {
    /// Gives the consumer a listener with other settings of the class, if nothing else differs.
    /// Running executions finish with the earlier listener.
    fn take_over(&mut self, wanted: &Assignment, made: &Arc<dyn Listener>) -> bool {
        let ListenerSpec { class, configuration, .. } = wanted.listener.clone();
        let listener = ListenerSpec { class, configuration, ..self.assignment.listener.clone() };
        let same = Assignment { listener, ..self.assignment.clone() } == *wanted;
        if same {
            self.listener.replace(Arc::clone(made));
            self.assignment = wanted.clone();
        }
        same
    }
}

/// The supervisor's record of one assignment.
pub(super) struct Worker {
    pub(super) assignment: Assignment,
    pub(super) active: Option<ActiveConsumer>,
    pub(super) status: ListenerStatus,
    /// The listener with its present settings, while the consumer with the earlier ones stops.
    pub(super) made: Option<Arc<dyn Listener>>,
    /// Cancelled when the consumer with the earlier settings has stopped.
    pub(super) handover: Option<CancellationToken>,
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
        let outage = outage(&assignment.listener, clock);
        let (active, made, handover) = (None, None, None);
        let retry_at = clock.monotonic();
        Self { assignment, active, status, made, handover, retry_at, unfinished: None, outage }
    }

    /// Takes another assignment over. The consumer with the earlier settings goes on until the
    /// listener is made with the present ones.
    pub(super) fn assign(&mut self, wanted: &Assignment, clock: &Clock) {
        if self.assignment == *wanted {
            return;
        }
        self.status.class = wanted.listener.class.clone();
        self.outage = outage(&wanted.listener, clock);
        self.assignment = wanted.clone();
        self.made = None;
        self.unfinished = None;
        self.retry_at = clock.monotonic();
    }

    /// Whether the consumer runs with the present settings.
    fn is_up_to_date(&self) -> bool {
        self.active.as_ref().is_some_and(|active| active.assignment == self.assignment)
    }

    /// Whether the consumer must be started or replaced, and it is time to try.
    pub(super) fn is_due(&self, clock: &Clock) -> bool {
        !self.is_up_to_date() && self.retry_at <= clock.monotonic()
    }

    /// Whether the consumer with the earlier settings still stops.
    pub(super) fn is_handing_over(&self) -> bool {
        self.handover.as_ref().is_some_and(|stopped| !stopped.is_cancelled())
    }

    /// Gives the running consumer the made listener, if that is all that its present settings need.
    pub(super) fn take_over(&mut self, made: &Arc<dyn Listener>) -> bool {
        let active = self.active.as_mut();
        active.is_some_and(|active| active.take_over(&self.assignment, made))
    }

    /// Takes over the state of the consumer. Returns whether the consumer just stopped running.
    pub(super) fn refresh(&mut self, now: OffsetDateTime) -> bool {
        if !self.is_up_to_date() {
            return false;
        }
        let Some(active) = &self.active else { return false };
        let before = self.status.state;
        let state = active.consumer.state.borrow().clone();
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
            _ if self.active.is_some() => ListenerState::Outdated,
            CannotRun::UnknownClass(_) => ListenerState::UnknownClass,
            CannotRun::NotMade(_) | CannotRun::Late(_) => ListenerState::Failed,
        };
        let cause = error_chain(error);
        self.retry_at = clock.monotonic() + self.outage.failed(&cause);
        self.enter(state, Some(cause), clock.now());
    }
}

fn outage(listener: &ListenerSpec, clock: &Clock) -> Outage {
    let ListenerSpec { group, class, .. } = listener;
    let failing = format!(
        "listener {group} of class {class} cannot be made with its settings on this node; a listener that runs goes on with its earlier settings, and otherwise the events wait; hearken tries again"
    );
    let recovered = format!("listener {group} of class {class} can run on this node again");
    Outage::new(clock, failing, recovered)
        .reporting(Reporting::EachCause)
        .with_pauses(FIRST_PAUSE, LONGEST_PAUSE)
}

/// A listener whose executions are counted, and which can be replaced while its consumer runs.
pub(super) struct Counted {
    listener: RwLock<Arc<dyn Listener>>,
    metrics: Arc<Metrics>,
}

impl Counted {
    pub(super) fn new(listener: Arc<dyn Listener>, metrics: Arc<Metrics>) -> Self {
        Self { listener: RwLock::new(listener), metrics }
    }

    /// Runs each further event with this listener.
    fn replace(&self, listener: Arc<dyn Listener>) {
        *self.listener.write() = listener;
    }
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
        let listener = Arc::clone(&self.listener.read());
        let result = listener.on_event(event, execution).await;
        if result.is_ok() {
            running.handled();
        }
        result
    }
}
