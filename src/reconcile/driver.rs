//! The loop: what wakes a pass, and how long until the next.

use super::{
    Parts, PassError,
    pass::{Ended, Passes},
};
use crate::{
    clock,
    domain::{
        deletion::QueueContents,
        repair::Occasion,
        report::{StepRecord, TopologyState},
    },
    error_chain::error_chain,
};
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

/// How long a request waits for another node's pass to end.
const WAIT_FOR_LOCK: Duration = Duration::from_secs(20);

/// The longest pause while passes fail. Short, because a broker that is back should be noticed.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

type Reply<T> = oneshot::Sender<Result<T, PassError>>;

/// What an administrator asks of the reconciler.
pub(super) enum ReconcileRequest {
    /// A pass, now.
    Pass { occasion: Occasion, reply: Reply<Vec<StepRecord>> },
    /// A queue's end.
    Delete { queue: String, contents: QueueContents, reply: Reply<u64> },
}

/// Runs the reconciler until told to stop.
pub async fn run(
    parts: Arc<Parts>,
    mut requests: mpsc::Receiver<super::reconciler::Asked>,
    stop: CancellationToken,
) {
    let mut driver = Driver {
        passes: Passes::new(Arc::clone(&parts)),
        failing: None,
        last_error: None,
        busy: Duration::ZERO,
    };
    let mut roster = parts.roster.subscribe();
    let mut due = tokio::time::Instant::now();
    loop {
        let (request, timer) = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            request = requests.recv() => match request {
                Some(request) => (Some(request.0), false),
                None => return,
            },
            changed = roster.changed() => if changed.is_err() { return } else { (None, false) },
            () = parts.nudge.notified() => (None, false),
            () = tokio::time::sleep_until(due) => (None, true),
        };
        roster.mark_unchanged();
        let pass = Box::pin(async {
            match request {
                Some(request) => driver.answer(request).await,
                None if timer && driver.seen_elsewhere().await => driver.interval(),
                None => driver.turn(Occasion::Routine).await.1,
            }
        });
        // A pass may be dropped anywhere: the next one, here or elsewhere, starts from what is.
        let Some(pause) = stop.run_until_cancelled(pass).await else { return };
        parts.tried.send_replace(true);
        due = tokio::time::Instant::now() + pause;
    }
}

struct Driver {
    passes: Passes,
    failing: Option<ExponentialBackoff>,
    last_error: Option<String>,
    /// The last pause after finding the lock taken.
    busy: Duration,
}

impl Driver {
    /// One pass and the pause after it.
    async fn turn(&mut self, occasion: Occasion) -> (Result<Vec<StepRecord>, PassError>, Duration) {
        let began = Instant::now();
        let result = self.passes.pass(occasion).await;
        let outcome = match &result {
            Ok(ended) if ended.records.is_empty() => "clean",
            Ok(_) => "changed",
            Err(PassError::Busy) => "busy",
            Err(PassError::Blocked(_)) => "blocked",
            Err(_) => "failed",
        };
        self.parts().metrics.pass(outcome, began.elapsed());
        match result {
            Ok(ended) => {
                self.note_success(&ended);
                let pause = ended.again.unwrap_or_else(|| self.interval());
                (Ok(ended.records), pause)
            }
            Err(PassError::Busy) => {
                // The other node's pass may have begun before the change that woke us.
                self.busy =
                    (self.busy * 2).clamp(Duration::from_millis(100), Duration::from_secs(2));
                let pause = if self.seen_elsewhere().await { self.interval() } else { self.busy };
                (Err(PassError::Busy), pause)
            }
            Err(error) => {
                self.note_failure(&error);
                let pause = self.failing.as_mut().and_then(Iterator::next);
                (Err(error), pause.unwrap_or(LONGEST_PAUSE))
            }
        }
    }

    async fn answer(&mut self, request: ReconcileRequest) -> Duration {
        let deadline = Instant::now() + WAIT_FOR_LOCK;
        let again = || tokio::time::sleep(Duration::from_millis(100));
        match request {
            ReconcileRequest::Pass { occasion, reply } => loop {
                // The caller may have gone away, or have cancelled.
                if reply.is_closed() {
                    return Duration::ZERO;
                }
                let (result, pause) = self.turn(occasion).await;
                if matches!(result, Err(PassError::Busy)) && Instant::now() < deadline {
                    again().await;
                    continue;
                }
                let _ = reply.send(result);
                return pause;
            },
            ReconcileRequest::Delete { queue, contents, reply } => loop {
                if reply.is_closed() {
                    return Duration::ZERO;
                }
                let result = self.passes.delete_on_request(&queue, contents).await;
                if matches!(result, Err(PassError::Busy)) && Instant::now() < deadline {
                    again().await;
                    continue;
                }
                let _ = reply.send(result);
                return Duration::ZERO;
            },
        }
    }

    fn parts(&self) -> &Parts {
        &self.passes.parts
    }

    /// The interval with a tenth of jitter, so that nodes do not look at the same moment.
    fn interval(&self) -> Duration {
        let interval = self.parts().interval.duration();
        let jittered = ExponentialBuilder::default()
            .with_min_delay(interval / 10)
            .with_max_delay(interval / 10)
            .with_jitter()
            .build()
            .next();
        interval * 9 / 10 + jittered.unwrap_or_default()
    }

    /// Whether another node looked recently and found nothing to do.
    async fn seen_elsewhere(&self) -> bool {
        let Ok(status) = self.parts().store.topology_status().await else { return false };
        let recent = status.observed_at.is_some_and(|at| {
            let age = clock::now() - at;
            !age.is_negative() && age < self.parts().interval.duration() * 4 / 5
        });
        recent
            && matches!(status.state, TopologyState::Converged | TopologyState::Pending)
            && status.reconciled_version == self.parts().roster.known().version()
            && status.node != self.parts().roster.node().id
    }

    fn note_success(&mut self, ended: &Ended) {
        if self.last_error.take().is_some() {
            tracing::info!(state = ?ended.state, "the topology can be reconciled again");
        }
        self.failing = None;
        self.busy = Duration::ZERO;
    }

    /// Says each new trouble once.
    fn note_failure(&mut self, error: &PassError) {
        let said = error_chain(error);
        if self.last_error.as_ref() != Some(&said) {
            tracing::error!("the topology cannot be reconciled: {said}");
            self.last_error = Some(said);
        }
        let longest = LONGEST_PAUSE.min(self.parts().interval.duration());
        self.failing.get_or_insert_with(|| {
            ExponentialBuilder::default()
                .with_min_delay(Duration::from_millis(250).min(longest))
                .with_max_delay(longest)
                .without_max_times()
                .with_jitter()
                .build()
        });
    }
}
