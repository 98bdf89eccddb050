//! When a drift is believed.
//!
//! One look at a broker can be wrong: the management API lags, and a cluster that heals shows
//! half of what it has. So a drift is repaired when it was seen twice, some time apart. What the
//! roster has only just asked for is not drift but work, and is done at once.

use crate::domain::drift::{Drift, DriftKey};
use std::{
    collections::BTreeMap,
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

    /// Whether a drift has been seen for long enough.
    pub(super) fn believed(&self, drift: &Drift, now: Instant) -> bool {
        self.0.get(&drift.key()).is_some_and(|(first, _)| now.duration_since(*first) >= CONFIRM)
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
        assert!(!sightings.believed(&drift("a"), start));
        let later = start + CONFIRM;
        sightings.note(&[drift("a"), drift("b")], later, at);
        assert!(sightings.believed(&drift("a"), later));
        assert!(!sightings.believed(&drift("b"), later));
    }

    #[test]
    fn a_drift_that_went_away_in_between_starts_anew() {
        let (mut sightings, start) = (Sightings::default(), Instant::now());
        let at = OffsetDateTime::UNIX_EPOCH;
        sightings.note(&[drift("a")], start, at);
        sightings.note(&[], start + CONFIRM, at);
        let later = start + 2 * CONFIRM;
        sightings.note(&[drift("a")], later, at);
        assert!(!sightings.believed(&drift("a"), later));
    }
}
