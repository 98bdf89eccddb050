//! When a drift is believed.
//!
//! One look at a broker can be wrong: the management API lags, and a cluster that heals shows
//! half of what it has. So a drift is repaired when it was seen twice, some time apart. What the
//! roster has only just asked for is not drift but work, and is done at once.

use crate::domain::drift::{Drift, DriftKey};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// The least time between the two sightings.
pub(super) const CONFIRM: Duration = Duration::from_secs(1);

/// What was seen before, and since when.
#[derive(Default)]
pub(super) struct Sightings(BTreeMap<DriftKey, (Instant, OffsetDateTime)>);

impl Sightings {
    /// Takes in a whole observation: what is not seen any more is forgotten.
    pub(super) fn note(&mut self, drift: &[Drift], now: Instant, at: OffsetDateTime) {
        let mut seen = BTreeMap::new();
        for drift in drift {
            let key = drift.key();
            let first = self.0.get(&key).copied().unwrap_or((now, at));
            seen.insert(key, first);
        }
        self.0 = seen;
    }

    /// Drift that has been seen for long enough to be repaired.
    pub(super) fn believed(&self, now: Instant) -> BTreeSet<DriftKey> {
        let long_enough = |first: &Instant| now.duration_since(*first) >= CONFIRM;
        let believed = self.0.iter().filter(|(_, (first, _))| long_enough(first));
        believed.map(|(key, _)| key.clone()).collect()
    }

    /// Since when a drift has been seen.
    pub(super) fn since(&self, drift: &Drift, otherwise: OffsetDateTime) -> OffsetDateTime {
        self.0.get(&drift.key()).map_or(otherwise, |(_, since)| *since)
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
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let at = OffsetDateTime::UNIX_EPOCH;
        sightings.note(&[drift("a")], start, at);
        assert!(!sightings.believed(start).contains(&drift("a").key()));
        let later = start + CONFIRM;
        sightings.note(&[drift("a"), drift("b")], later, at);
        assert!(sightings.believed(later).contains(&drift("a").key()));
        assert!(!sightings.believed(later).contains(&drift("b").key()));
    }

    #[test]
    fn a_drift_that_went_away_in_between_starts_anew() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let at = OffsetDateTime::UNIX_EPOCH;
        sightings.note(&[drift("a")], start, at);
        sightings.note(&[], start + CONFIRM, at);
        let later = start + 2 * CONFIRM;
        sightings.note(&[drift("a")], later, at);
        assert!(!sightings.believed(later).contains(&drift("a").key()));
    }
}
