//! Repairs that failed, and the time of their next try.

use super::apply::{Applied, AppliedStep};
use crate::{
    clock::Clock,
    domain::{
        drift::{DriftKey, ObjectKind},
        report::StepOutcome,
    },
    outage::pauses,
};
use backon::ExponentialBackoff;
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

/// First and longest pause before a refused step is tried again. The refusal may end by itself, as
/// when another program declares the exchange of an attached bus.
const PAUSES: (Duration, Duration) = (Duration::from_secs(5), Duration::from_mins(5));

/// Steps that the broker refused, by object. One object that cannot be satisfied delays no other
/// object, is tried again after growing pauses, and is reported when its outcome changes.
#[derive(Default)]
pub(super) struct Setbacks(BTreeMap<(ObjectKind, String), Setback>);

struct Setback {
    error: String,
    next_try: Instant,
    pauses: ExponentialBackoff,
}

impl Setbacks {
    /// Takes in the outcomes of a pass, and logs each outcome that is news. While the broker is out
    /// of reach, no outcome says anything about an object.
    pub(super) fn note(&mut self, applied: &Applied, clock: &Clock) {
        if applied.is_cut_short() {
            return;
        }
        for AppliedStep { step, outcome } in &applied.steps {
            let (object, name) = (step.action.object(), step.action.name());
            let key = (object, name.clone());
            match outcome {
                StepOutcome::Skipped { .. } | StepOutcome::Started => {}
                StepOutcome::Done { .. } => {
                    if self.0.remove(&key).is_some() {
                        tracing::info!(%name, "{} {name} works again", step.action.verb());
                    }
                }
                StepOutcome::Failed { error } => self.fail(key, step.action.verb(), error, clock),
            }
        }
    }

    fn fail(&mut self, key: (ObjectKind, String), verb: &str, error: &str, clock: &Clock) {
        let name = key.1.clone();
        let setback = self.0.entry(key).or_insert_with(|| Setback {
            error: String::new(),
            next_try: clock.monotonic(),
            pauses: pauses(PAUSES.0, PAUSES.1),
        });
        let pause = setback.pauses.next().unwrap_or(PAUSES.1);
        setback.next_try = clock.monotonic() + pause;
        if setback.error != error {
            error.clone_into(&mut setback.error);
            tracing::warn!(%name, error, "could not {verb} {name}; hearken tries again after growing pauses: {error}");
        }
    }

    /// Whether a failure of this step, with these words, was reported before.
    pub(super) fn is_known(&self, applied: &AppliedStep) -> bool {
        let key = (applied.step.action.object(), applied.step.action.name());
        let StepOutcome::Failed { error } = &applied.outcome else { return false };
        self.0.get(&key).is_some_and(|setback| setback.error == *error)
    }

    /// Drift among these that is tried again later.
    pub(super) fn postponed<'a>(
        &self,
        drift: impl Iterator<Item = &'a DriftKey>,
        clock: &Clock,
    ) -> BTreeSet<DriftKey> {
        let now = clock.monotonic();
        let waits = |key: &&DriftKey| {
            let setback = self.0.get(&(key.object, key.name.clone()));
            setback.is_some_and(|setback| setback.next_try > now)
        };
        drift.filter(waits).cloned().collect()
    }

    /// Words with which the broker refused an object.
    pub(super) fn refusal(&self, drift: &DriftKey) -> Option<&str> {
        let setback = self.0.get(&(drift.object, drift.name.clone()))?;
        Some(&setback.error)
    }

    /// Error of the first object that the broker refuses.
    pub(super) fn cause(&self) -> Option<&str> {
        self.0.values().next().map(|setback| setback.error.as_str())
    }

    /// Forgets every object that does not differ any more.
    pub(super) fn retain<'a>(&mut self, drift: impl Iterator<Item = &'a DriftKey>) {
        let left: BTreeSet<_> = drift.map(|key| (key.object, key.name.clone())).collect();
        self.0.retain(|key, _| left.contains(key));
    }

    /// Time until the first object is tried again.
    pub(super) fn next_try(&self, clock: &Clock) -> Option<Duration> {
        let next = self.0.values().map(|setback| setback.next_try).min()?;
        Some(next.saturating_duration_since(clock.monotonic()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        drift::{Drift, DriftKind, Object, Remedy},
        plan::{Action, Step, StepClass},
        topology::Binding,
    };

    fn applied(outcome: StepOutcome) -> Applied {
        let step = Step::new(Action::Bind(binding()), StepClass::Safe, "missing");
        Applied { steps: vec![AppliedStep { step, outcome }], failure: None }
    }

    fn binding() -> Binding {
        Binding::of_queue("x", "q", "")
    }

    fn failed(error: &str) -> Applied {
        applied(StepOutcome::Failed { error: error.to_owned() })
    }

    fn key() -> DriftKey {
        let expected = Some(Object::Binding(binding()));
        Drift { kind: DriftKind::Missing, expected, found: None, remedy: Remedy::Bind }.key()
    }

    #[test]
    fn a_refused_step_is_news_once_and_waits_longer_each_time() {
        let ((clock, hand), mut setbacks) = (Clock::turnable(), Setbacks::default());
        let (key, first) = (key(), failed("no exchange"));
        assert!(!setbacks.is_known(&first.steps[0]));
        let mut waited = Duration::ZERO;
        for _ in 0..5 {
            setbacks.note(&first, &clock);
            assert!(setbacks.is_known(&first.steps[0]));
            assert!(!setbacks.is_known(&failed("another cause").steps[0]));
            let pause = setbacks.next_try(&clock).unwrap();
            assert!(pause > waited, "{pause:?} after {waited:?}");
            waited = pause;
            assert_eq!(setbacks.postponed([&key].into_iter(), &clock).len(), 1);
            hand.forward(pause);
            assert_eq!(setbacks.postponed([&key].into_iter(), &clock).len(), 0);
        }
    }

    #[test]
    fn a_step_that_works_again_is_forgotten() {
        let (clock, mut setbacks) = (Clock::system(), Setbacks::default());
        setbacks.note(&failed("no exchange"), &clock);
        setbacks.note(&applied(StepOutcome::Done { destroyed: 0 }), &clock);
        assert_eq!(setbacks.next_try(&clock), None);
    }
}
