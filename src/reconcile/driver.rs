//! The loop: what wakes a pass, and the pause until the next pass.

use super::{
    context::ReconcileContext,
    error::PassError,
    memory::Memory,
    pass::{PassOutcome, make_pass},
    request::ReconcileRequest,
    requested_deletion::delete_on_request,
};
use crate::{
    domain::{repair::Occasion, report::TopologyState},
    error_chain::error_chain,
    outage::{Outage, Reporting, pauses},
};
use std::{
    pin::pin,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::{mpsc, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;

/// How long a request waits for the pass of another node to end.
const WAIT_FOR_LEASE: Duration = Duration::from_secs(20);

/// Pause between attempts of a request to take the lease that another node holds.
const REQUEST_PAUSE: Duration = Duration::from_millis(100);

/// First and longest pause after a pass found that another node holds the lease.
const BUSY_PAUSES: [Duration; 2] = [Duration::from_millis(100), Duration::from_secs(2)];

/// First pause after a failed pass.
const FIRST_PAUSE: Duration = Duration::from_millis(250);

/// Longest pause while passes fail. Short, because a broker that is back should be noticed soon.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// Time for which a blocked topology is looked at as often as one that fails for another reason.
const BLOCKED_OFTEN: Duration = Duration::from_mins(1);

/// Makes the passes of this node, one at a time.
pub struct ReconcileLoop {
    context: Arc<ReconcileContext>,
    requests: mpsc::Receiver<ReconcileRequest>,
    memory: Memory,
    /// Whether a pass was tried in this process.
    tried: watch::Sender<bool>,
    outage: Outage,
    /// Last pause after a pass found that another node holds the lease.
    busy_pause: Duration,
}

/// What ended the pause.
enum WakeUp {
    /// An administrator asked.
    Request(ReconcileRequest),
    /// The roster changed, or a part of this node missed something on the broker.
    Change,
    /// The pause is over.
    Timer,
}

impl ReconcileLoop {
    /// A loop that answers the requests and does not run yet.
    pub(super) fn new(
        context: Arc<ReconcileContext>,
        requests: mpsc::Receiver<ReconcileRequest>,
    ) -> Self {
        let failing = "the topology cannot be reconciled, and hearken tries again";
        let outage = Outage::new(&context.clock, failing, "the topology can be reconciled again")
            .reporting(Reporting::EachCause)
            .with_pauses(FIRST_PAUSE, LONGEST_PAUSE);
        let memory = Memory::new(&context.clock);
        let tried = watch::Sender::new(false);
        Self { context, requests, memory, tried, outage, busy_pause: Duration::ZERO }
    }

    /// Becomes true when a pass was tried in this process, successful or not.
    pub(super) fn tried(&self) -> watch::Receiver<bool> {
        self.tried.subscribe()
    }

    /// Runs until told to stop.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut roster = self.context.roster.subscribe();
        let mut pause = pin!(sleep(Duration::ZERO));
        loop {
            let wake_up = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                request = self.requests.recv() => match request {
                    Some(request) => WakeUp::Request(request),
                    None => return,
                },
                changed = roster.changed() => match changed {
                    Ok(()) => WakeUp::Change,
                    Err(_) => return,
                },
                () = self.context.nudge.notified() => WakeUp::Change,
                () = &mut pause => WakeUp::Timer,
            };
            // Marked before the pass, so that a change during the pass wakes the next pass.
            roster.mark_unchanged();
            let answer = Box::pin(self.answer(wake_up));
            // A pass may be dropped at any point. The next pass, here or on another node, starts
            // from what the broker holds then.
            let Some(next) = stop.run_until_cancelled(answer).await else { return };
            self.tried.send_replace(true);
            pause.set(sleep(next));
        }
    }

    /// Does what the wake-up asks for. Returns the pause until the next pass.
    async fn answer(&mut self, wake_up: WakeUp) -> Duration {
        match wake_up {
            WakeUp::Request(request) => self.answer_request(request).await,
            WakeUp::Timer if self.another_node_reconciles().await => self.interval(),
            WakeUp::Timer | WakeUp::Change => {
                let result = self.pass(Occasion::Routine).await;
                self.pause_after(&result).await
            }
        }
    }

    /// Answers a request. A caller that went away is not answered, and its request is dropped.
    async fn answer_request(&mut self, request: ReconcileRequest) -> Duration {
        let asked_at = self.context.clock.monotonic();
        match request {
            ReconcileRequest::Pass { occasion, reply } => {
                while !reply.is_closed() {
                    let result = self.pass(occasion).await;
                    let pause = self.pause_after(&result).await;
                    if self.may_try_again(&result, asked_at) {
                        sleep(REQUEST_PAUSE).await;
                        continue;
                    }
                    let _ = reply.send(result.map(|outcome| outcome.steps));
                    return pause;
                }
            }
            ReconcileRequest::DeleteQueue { queue, contents, reply } => {
                while !reply.is_closed() {
                    let result = delete_on_request(&self.context, &queue, contents).await;
                    if self.may_try_again(&result, asked_at) {
                        sleep(REQUEST_PAUSE).await;
                        continue;
                    }
                    let _ = reply.send(result);
                    break;
                }
            }
        }
        Duration::ZERO
    }

    /// Whether a request found the lease taken and may wait for it longer.
    fn may_try_again<T>(&self, result: &Result<T, PassError>, asked_at: Instant) -> bool {
        let is_busy = matches!(result, Err(PassError::Busy));
        is_busy && self.context.clock.elapsed(asked_at) < WAIT_FOR_LEASE
    }

    /// Makes one pass and counts it.
    async fn pass(&mut self, occasion: Occasion) -> Result<PassOutcome, PassError> {
        let clock = &self.context.clock;
        let began = clock.monotonic();
        let result = make_pass(&self.context, &mut self.memory, occasion).await;
        let outcome = match &result {
            Ok(outcome) if outcome.steps.is_empty() => "clean",
            Ok(_) => "changed",
            Err(PassError::Busy) => "busy",
            Err(PassError::Blocked(_)) => "blocked",
            Err(_) => "failed",
        };
        self.context.metrics.pass(outcome, clock.elapsed(began));
        result
    }

    /// Notes how a pass ended. Returns the pause until the next pass.
    async fn pause_after(&mut self, result: &Result<PassOutcome, PassError>) -> Duration {
        match result {
            Ok(outcome) => {
                self.outage.over();
                self.busy_pause = Duration::ZERO;
                // A step that is tried again late does not delay the look at everything else.
                let interval = self.interval();
                outcome.next_pass.map_or(interval, |next| next.min(interval))
            }
            Err(PassError::Busy) => {
                // The pass of the other node may have begun before the change that woke this node.
                let [first, longest] = BUSY_PAUSES;
                self.busy_pause = (self.busy_pause * 2).clamp(first, longest);
                let is_done = self.another_node_reconciles().await;
                if is_done { self.interval() } else { self.busy_pause }
            }
            Err(error) => {
                let pause = self.outage.failed(&error_chain(error));
                let is_blocked = matches!(error, PassError::Blocked(_));
                // A blocked topology waits for a person, so looking often gains nothing.
                if is_blocked && self.outage.length() > BLOCKED_OFTEN {
                    self.interval()
                } else {
                    pause.min(self.recorded_interval())
                }
            }
        }
    }

    /// The interval that the roster has.
    fn recorded_interval(&self) -> Duration {
        self.context.roster.known().settings().reconcile_interval.duration()
    }

    /// The interval and at most a tenth more, so that nodes do not look at the same moment.
    fn interval(&self) -> Duration {
        let interval = self.recorded_interval();
        let tenth = interval / 10;
        let jittered = pauses(tenth, 2 * tenth).next();
        interval * 9 / 10 + jittered.unwrap_or(tenth)
    }

    /// Whether another node made a pass lately that stands for a pass of this node, too: the node
    /// saw the broker and follows the newest roster, or found that nothing may be changed.
    async fn another_node_reconciles(&self) -> bool {
        let ReconcileContext { roster, store, clock, .. } = &*self.context;
        let Ok(Some(last)) = store.last_pass().await else { return false };
        let (status, this_node) = (&last.status, &roster.node().id);
        let recent = self.recorded_interval() * 4 / 5;
        match status.state {
            TopologyState::Converged | TopologyState::Pending | TopologyState::Drifted => {
                let is_recent = status.observed_at.is_some_and(|at| {
                    let age = clock.now() - at;
                    !age.is_negative() && age < recent
                });
                let is_current = status.reconciled_version == roster.known().version();
                is_recent && is_current && status.node != *this_node
            }
            // A pass that is blocked as the pass before stores nothing.
            TopologyState::Blocked => last.holder != *this_node && last.silence < recent,
            // The broker may be in reach of this node.
            TopologyState::Unknown => false,
        }
    }
}
