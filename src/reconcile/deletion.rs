//! When a removed listener's queue may be deleted.
//!
//! RabbitMQ has no compare-and-delete, its counters lag by seconds, and its conditional deletes
//! either destroy unacknowledged events (classic) or close the connection (quorum). So the
//! evidence is gathered here: a queue that is to be drained must have been seen empty and without
//! a consumer twice, its quiet time apart; one whose content is given up must have no consumer.

use super::{
    apply::{Applied, apply},
    pass::Passes,
    work::Work,
};
use crate::{
    broker::Depth,
    domain::{
        command::Pending,
        desired::Fate,
        plan::Step,
        report::{StepOutcome, StepRecord},
    },
    error_chain::error_chain,
    store::HeldLock,
};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Since when each queue has been quiet.
#[derive(Default)]
pub(super) struct Evidence(BTreeMap<String, Instant>);

/// What the evidence says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Delete it.
    Delete,
    /// Not yet: what it waits for.
    Wait(String),
}

impl Evidence {
    /// Takes in one sample of a queue.
    pub(super) fn sample(
        &mut self,
        queue: &str,
        fate: &Fate,
        depth: Depth,
        now: Instant,
    ) -> Verdict {
        let Depth { ready, unacked, consumers } = depth;
        let holds = fate.pending != Pending::Discard && (ready > 0 || unacked > 0);
        if consumers > 0 || holds {
            self.0.remove(queue);
            return Verdict::Wait(format!(
                "it has {ready} waiting and {unacked} unacknowledged events and {consumers} consumers"
            ));
        }
        let since = *self.0.entry(queue.to_owned()).or_insert(now);
        let quiet = match fate.pending {
            // Content is given up: only a consumer whose stop the counters do not show matters.
            Pending::Discard => Duration::ZERO,
            Pending::Keep | Pending::Drain => fate.quiet.duration(),
        };
        if now.duration_since(since) >= quiet {
            return Verdict::Delete;
        }
        Verdict::Wait(format!("it must stay empty for {}", fate.quiet))
    }

    /// Whether some queue is quiet, so that its deletion comes due.
    pub(super) fn any(&self) -> bool {
        !self.0.is_empty()
    }

    /// Forgets a queue that is gone.
    pub(super) fn forget(&mut self, queue: &str) {
        self.0.remove(queue);
    }
}

impl Passes {
    /// Deletes the queues that have been quiet for long enough. One that cannot be asked about, or
    /// is not quiet, is skipped with the reason.
    pub(super) async fn delete(
        &mut self,
        work: &Work,
        lock: &mut HeldLock,
        steps: &[Step],
    ) -> Applied {
        let mut all = Applied::default();
        for step in steps {
            let queue = step.action.name();
            let Some(fate) = work.desired.fates.get(&queue) else { continue };
            let verdict = match self.parts.broker.depth(&queue).await {
                Ok(None) => continue,
                Ok(Some(depth)) => self.evidence.sample(&queue, fate, depth, Instant::now()),
                Err(error) => {
                    self.evidence.forget(&queue);
                    Verdict::Wait(error_chain(&error))
                }
            };
            let verdict = match verdict {
                // A node that was paused may have lost the lock to another.
                Verdict::Delete if !lock.still_held().await => {
                    Verdict::Wait("another node is reconciling".to_owned())
                }
                verdict => verdict,
            };
            if let Verdict::Wait(error) = verdict {
                let outcome = StepOutcome::Skipped { error };
                all.records.push(StepRecord { step: step.into(), outcome });
                continue;
            }
            let step = std::slice::from_ref(step);
            let done = apply(&*self.parts.broker, &self.parts.metrics, step).await;
            if let Some(StepOutcome::Done { destroyed }) = done.records.first().map(|r| &r.outcome)
            {
                tracing::info!(%queue, destroyed, "deleted queue {queue} of a removed listener; it held {destroyed} events");
                self.evidence.forget(&queue);
                if let Err(error) = self.parts.store.retire(&fate.id, *destroyed).await {
                    // The next pass finds the queue absent and notes that.
                    tracing::warn!(%queue, %error, "the end of queue {queue} could not be noted: {error}");
                }
            }
            all.records.extend(done.records);
            all.failure = all.failure.or(done.failure);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{name::GroupName, roster::QueueId, span::Span};

    fn fate(pending: Pending) -> Fate {
        let id = QueueId::new(GroupName::parse("a").unwrap(), 1);
        Fate { id, pending, quiet: Span::from_secs(6) }
    }

    const EMPTY: Depth = Depth { ready: 0, unacked: 0, consumers: 0 };

    #[test]
    fn a_drained_queue_is_deleted_when_two_samples_its_quiet_time_apart_are_empty() {
        let (mut evidence, start) = (Evidence::default(), Instant::now());
        let fate = fate(Pending::Drain);
        let at = |secs| start + Duration::from_secs(secs);
        assert!(matches!(evidence.sample("q", &fate, EMPTY, at(0)), Verdict::Wait(_)));
        assert!(matches!(evidence.sample("q", &fate, EMPTY, at(5)), Verdict::Wait(_)));
        assert_eq!(evidence.sample("q", &fate, EMPTY, at(6)), Verdict::Delete);
    }

    #[test]
    fn an_event_or_a_consumer_in_between_starts_the_quiet_time_anew() {
        let start = Instant::now();
        let fate = fate(Pending::Drain);
        for busy in [Depth { unacked: 1, ..EMPTY }, Depth { consumers: 1, ..EMPTY }] {
            let mut evidence = Evidence::default();
            let at = |secs| start + Duration::from_secs(secs);
            evidence.sample("q", &fate, EMPTY, at(0));
            assert!(matches!(evidence.sample("q", &fate, busy, at(5)), Verdict::Wait(_)));
            assert!(matches!(evidence.sample("q", &fate, EMPTY, at(7)), Verdict::Wait(_)));
        }
    }

    #[test]
    fn a_discarded_queue_waits_for_its_consumers_only() {
        let (mut evidence, now) = (Evidence::default(), Instant::now());
        let fate = fate(Pending::Discard);
        let full = Depth { ready: 5, unacked: 0, consumers: 1 };
        assert!(matches!(evidence.sample("q", &fate, full, now), Verdict::Wait(_)));
        let left = Depth { ready: 5, unacked: 0, consumers: 0 };
        assert_eq!(evidence.sample("q", &fate, left, now), Verdict::Delete);
    }
}
