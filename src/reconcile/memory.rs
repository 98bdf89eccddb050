//! What the passes of one process remember of each other.

use super::setbacks::Setbacks;
use crate::{
    clock::Clock,
    domain::{
        deletion::QuietQueues,
        desired::Desired,
        drift::{Drift, DriftKey},
        event::Version,
        layout::Layout,
        repair::{LastSeen, Precautions, Restraint},
        report::DriftReport,
        roster::Roster,
        topology::Topology,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// The shortest time between the two observations that make a drift believed.
///
/// One observation of a broker can be wrong: the management API lags, and a cluster that heals
/// shows half of what it has. So lost objects are repaired when two observations, some time apart,
/// showed the loss. What the roster has just asked for is not a loss, and is done at once.
pub(super) const CONFIRM: Duration = Duration::from_secs(1);

/// Memory of the passes of one process. Its loss costs a second observation and nothing else.
pub(super) struct Memory {
    clock: Clock,
    /// First observation of each drift that the last observation showed.
    first_seen: BTreeMap<DriftKey, FirstSeen>,
    /// Limits of the accelerator. Unknown before the first observation.
    precautions: Option<Precautions>,
    /// The roster at the version that the broker follows.
    roster: Option<Arc<Roster>>,
    /// Evidence about the queues of removed listeners.
    quiet: QuietQueues,
    /// Repairs that failed.
    setbacks: Setbacks,
}

/// Time of an observation.
#[derive(Clone, Copy)]
struct FirstSeen {
    monotonic: Instant,
    wall: OffsetDateTime,
}

impl Memory {
    /// Memory of a process that has made no pass.
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            first_seen: BTreeMap::new(),
            precautions: None,
            roster: None,
            quiet: QuietQueues::default(),
            setbacks: Setbacks::default(),
        }
    }

    /// Takes in the whole drift of an observation, and forgets every other drift.
    pub(super) fn note_drift(&mut self, drift: &[Drift]) {
        let now = FirstSeen { monotonic: self.clock.monotonic(), wall: self.clock.now() };
        let first = |key: &DriftKey| self.first_seen.get(key).copied().unwrap_or(now);
        self.first_seen = drift
            .iter()
            .map(Drift::key)
            .map(|key| {
                let first = first(&key);
                (key, first)
            })
            .collect();
        self.setbacks.retain(self.first_seen.keys());
    }

    /// Drift that was first seen long enough ago to be repaired.
    pub(super) fn believed(&self) -> BTreeSet<DriftKey> {
        let now = self.clock.monotonic();
        let long_enough = |first: &FirstSeen| now.duration_since(first.monotonic) >= CONFIRM;
        let believed = self.first_seen.iter().filter(|(_, first)| long_enough(first));
        believed.map(|(key, _)| key.clone()).collect()
    }

    /// Reports of a drift, each with the time of its first observation.
    pub(super) fn reports(
        &self,
        last_seen: &LastSeen,
        drift: &[Drift],
        now: OffsetDateTime,
    ) -> Vec<DriftReport> {
        let report = |drift: &Drift| {
            let first = self.first_seen.get(&drift.key());
            let since = first.map_or(now, |first| first.wall);
            let unfinished = drift.is_repairable() && last_seen.asks_for(drift);
            let refusal = self.setbacks.refusal(&drift.key()).map(str::to_owned);
            DriftReport { unfinished, refusal, ..DriftReport::new(drift, since) }
        };
        drift.iter().map(report).collect()
    }

    /// Takes in an observation.
    pub(super) fn note_observation(
        &mut self,
        layout: &Layout,
        desired: &Desired,
        observed: &Topology,
    ) {
        self.precautions = Some(Precautions::of(layout, desired, observed));
    }

    /// Limits of the accelerator. `None` before the first observation: then the accelerator changes
    /// nothing.
    pub(super) fn precautions(&self) -> Option<&Precautions> {
        self.precautions.as_ref()
    }

    /// Sign that the broker knows a later history than the log, in the last observation.
    pub(super) fn restraint(&self) -> Option<&Restraint> {
        self.precautions.as_ref().and_then(|precautions| precautions.restraint.as_ref())
    }

    /// Remembers the roster that the broker follows, so that no pass folds it again.
    pub(super) fn remember_roster(&mut self, roster: &Arc<Roster>) {
        self.roster = Some(Arc::clone(roster));
    }

    /// The remembered roster, if it has this version.
    pub(super) fn roster_at(&self, version: Version) -> Option<Arc<Roster>> {
        self.roster.clone().filter(|roster| roster.version() == version)
    }

    /// Drift of the last observation whose repair failed and is tried again later.
    pub(super) fn postponed(&self) -> BTreeSet<DriftKey> {
        self.setbacks.postponed(self.first_seen.keys(), &self.clock)
    }

    /// Repairs that failed.
    pub(super) fn setbacks(&mut self) -> &mut Setbacks {
        &mut self.setbacks
    }

    /// Evidence about the queues of removed listeners.
    pub(super) fn quiet_queues(&mut self) -> &mut QuietQueues {
        &mut self.quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        drift::{DriftKind, Object, Remedy},
        topology::Binding,
    };

    fn drift(key: &str) -> Drift {
        let binding = Binding::of_queue("x", "q", key);
        Drift {
            kind: DriftKind::Missing,
            expected: Some(Object::Binding(binding)),
            found: None,
            remedy: Remedy::Bind,
        }
    }

    #[test]
    fn a_drift_is_believed_when_it_was_seen_twice_some_time_apart() {
        let (clock, hand) = Clock::turnable();
        let mut memory = Memory::new(&clock);
        memory.note_drift(&[drift("a")]);
        assert_eq!(memory.believed(), BTreeSet::new());
        hand.forward(CONFIRM);
        memory.note_drift(&[drift("a"), drift("b")]);
        assert_eq!(memory.believed(), BTreeSet::from([drift("a").key()]));
    }

    #[test]
    fn a_drift_that_went_away_between_two_observations_starts_again() {
        let (clock, hand) = Clock::turnable();
        let mut memory = Memory::new(&clock);
        memory.note_drift(&[drift("a")]);
        memory.note_drift(&[]);
        hand.forward(CONFIRM);
        memory.note_drift(&[drift("a")]);
        assert_eq!(memory.believed(), BTreeSet::new());
    }

    #[test]
    fn a_drift_is_reported_since_its_first_observation() {
        let (clock, hand) = Clock::turnable();
        let (mut memory, start) = (Memory::new(&clock), clock.now());
        memory.note_drift(&[drift("a")]);
        hand.forward(Duration::from_mins(1));
        memory.note_drift(&[drift("a")]);
        let reports = memory.reports(&LastSeen::default(), &[drift("a"), drift("b")], clock.now());
        let age = |index: usize| reports[index].since - start;
        assert!(age(0) < Duration::from_mins(1) && age(1) >= Duration::from_mins(1));
    }

    #[test]
    fn a_roster_is_remembered_for_its_own_version_alone() {
        let mut memory = Memory::new(&Clock::system());
        memory.remember_roster(&Arc::default());
        assert!(memory.roster_at(0).is_some() && memory.roster_at(1).is_none());
    }
}
