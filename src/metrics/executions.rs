//! What this node's listeners do: executions under way, how they end, and how far behind they are.

use super::{Group, Metrics, Seconds, buckets};
use crate::{
    clock,
    domain::name::{BusName, GroupName},
};
use parking_lot::{Mutex, MutexGuard};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};
use time::OffsetDateTime;

/// The counters, as a part of [`Metrics`].
pub(super) struct ExecutionCounters {
    handled: Family<Group, Counter>,
    failed: Family<Group, Counter>,
    in_flight: Family<Group, Gauge>,
    handling: Family<Group, Histogram>,
    oldest: Family<Group, Seconds>,
    in_hand: Mutex<HashMap<Group, InHand>>,
}

/// Since when the events in hand wait, each with a number that makes it one of a kind.
#[derive(Default)]
struct InHand {
    taken: u64,
    waiting_since: BTreeSet<(OffsetDateTime, u64)>,
}

impl Default for ExecutionCounters {
    fn default() -> Self {
        Self {
            handled: Family::default(),
            failed: Family::default(),
            in_flight: Family::default(),
            handling: Family::new_with_constructor(buckets),
            oldest: Family::default(),
            in_hand: Mutex::default(),
        }
    }
}

impl ExecutionCounters {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "Events a listener handled on this node";
        r.register("handled", help, self.handled.clone());
        let help = "Executions of a listener that failed on this node";
        r.register("failed", help, self.failed.clone());
        let help = "Executions under way on this node";
        r.register("in_flight", help, self.in_flight.clone());
        let help = "Duration of an execution";
        r.register_with_unit("handling", help, Unit::Seconds, self.handling.clone());
        let help = "Age of the oldest event in hand on this node, since it was published or \
                    failed for the first time; what waits behind it came later";
        r.register_with_unit("oldest_in_hand", help, Unit::Seconds, self.oldest.clone());
    }

    pub(super) fn listener(&self, label: &Group) {
        drop(self.handled.get_or_create(label));
        drop(self.failed.get_or_create(label));
        drop(self.in_flight.get_or_create(label));
        drop(self.oldest.get_or_create(label));
    }

    /// Works out what is measured when somebody looks.
    pub(super) fn refresh(&self) {
        let now = clock::now();
        for (label, in_hand) in &*self.in_hand() {
            let oldest = in_hand.waiting_since.first();
            let age = oldest.map_or(0.0, |(since, _)| (now - *since).as_seconds_f64().max(0.0));
            self.oldest.get_or_create(label).set(age);
        }
    }

    fn in_hand(&self) -> MutexGuard<'_, HashMap<Group, InHand>> {
        self.in_hand.lock()
    }
}

/// An execution under way. Dropped, it has ended: badly, unless it was said to be handled.
pub struct Running<'a> {
    counters: &'a ExecutionCounters,
    label: Group,
    waiting_since: (OffsetDateTime, u64),
    began: Instant,
    handled: bool,
}

impl Metrics {
    /// Counts the beginning of an execution; dropping the returned guard counts its end. `attempt`
    /// is 0 for the first execution of an event. `waiting_since` is when the event was published or
    /// failed first, where that is known.
    #[must_use]
    pub fn execution(
        &self,
        bus: &BusName,
        group: &GroupName,
        attempt: u32,
        waiting_since: Option<OffsetDateTime>,
    ) -> Running<'_> {
        if attempt > 0 {
            self.retried(bus, group);
        }
        let counters = &self.executions;
        let label = Group { bus: bus.to_string(), group: group.to_string() };
        counters.in_flight.get_or_create(&label).inc();
        let mut all = counters.in_hand();
        let in_hand = all.entry(label.clone()).or_default();
        in_hand.taken += 1;
        let waiting_since = (waiting_since.unwrap_or_else(clock::now), in_hand.taken);
        in_hand.waiting_since.insert(waiting_since);
        drop(all);
        Running { counters, label, waiting_since, began: Instant::now(), handled: false }
    }
}

impl Running<'_> {
    /// Its event was handled.
    pub fn handled(mut self) {
        self.handled = true;
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        let Self { counters, label, .. } = self;
        if let Some(in_hand) = counters.in_hand().get_mut(label) {
            in_hand.waiting_since.remove(&self.waiting_since);
        }
        counters.in_flight.get_or_create(label).dec();
        counters.handling.get_or_create(label).observe(self.began.elapsed().as_secs_f64());
        let counter = if self.handled { &counters.handled } else { &counters.failed };
        counter.get_or_create(label).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn begin(metrics: &Metrics, attempt: u32, age: Duration) -> Running<'_> {
        let (bus, group) = (BusName::parse("b").unwrap(), GroupName::parse("g").unwrap());
        metrics.execution(&bus, &group, attempt, Some(clock::now() - age))
    }

    fn oldest(metrics: &Metrics) -> f64 {
        let text = metrics.encode();
        let line = text.lines().find(|line| line.starts_with("hearken_oldest_in_hand_seconds{"));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn the_oldest_in_hand_is_the_oldest_that_has_not_ended() {
        let metrics = Metrics::default();
        let (old, young) = (Duration::from_mins(5), Duration::from_mins(1));
        let older = begin(&metrics, 0, old);
        let younger = begin(&metrics, 0, young);
        let again = begin(&metrics, 1, Duration::from_hours(1));
        assert!((3600.0..3660.0).contains(&oldest(&metrics)), "{}", oldest(&metrics));
        drop(again);
        assert!((300.0..360.0).contains(&oldest(&metrics)), "{}", oldest(&metrics));
        older.handled();
        assert!((60.0..120.0).contains(&oldest(&metrics)), "{}", oldest(&metrics));
        drop(younger);
        assert!(oldest(&metrics) == 0.0);
    }

    #[test]
    fn an_execution_that_is_dropped_has_failed() {
        let metrics = Metrics::default();
        begin(&metrics, 0, Duration::ZERO).handled();
        drop(begin(&metrics, 0, Duration::ZERO));
        drop(begin(&metrics, 3, Duration::ZERO));
        let text = metrics.encode();
        for (series, count) in [("handled", 1), ("failed", 2), ("retried", 1)] {
            let (start, end) = (format!("hearken_{series}_total{{"), format!(" {count}"));
            let found = |line: &str| line.starts_with(&start) && line.ends_with(&end);
            assert!(text.lines().any(found), "{series}: {text}");
        }
    }
}
