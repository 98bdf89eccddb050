//! Series of executions: how many run, how they end, and how old their events are.

use super::{Metrics, Seconds, buckets, labels::GroupLabel};
use crate::{
    clock::Clock,
    domain::name::{BusName, GroupName},
};
use parking_lot::Mutex;
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    collections::{BTreeSet, HashMap},
    time::Instant,
};
use time::OffsetDateTime;

/// The series, as a part of [`Metrics`].
pub(super) struct ExecutionCounters {
    handled: Family<GroupLabel, Counter>,
    failed: Family<GroupLabel, Counter>,
    in_flight: Family<GroupLabel, Gauge>,
    handling: Family<GroupLabel, Histogram>,
    oldest: Family<GroupLabel, Seconds>,
    open: Mutex<HashMap<GroupLabel, OpenExecutions>>,
}

/// Executions of a group that have not ended.
#[derive(Default)]
struct OpenExecutions {
    begun: u64,
    events: BTreeSet<OpenEvent>,
}

/// Event that is being executed. The number tells events of the same age apart.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct OpenEvent {
    waiting_since: OffsetDateTime,
    number: u64,
}

impl Default for ExecutionCounters {
    fn default() -> Self {
        Self {
            handled: Family::default(),
            failed: Family::default(),
            in_flight: Family::default(),
            handling: Family::new_with_constructor(buckets),
            oldest: Family::default(),
            open: Mutex::default(),
        }
    }
}

impl ExecutionCounters {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "Events that a listener handled on this node";
        r.register("handled", help, self.handled.clone());
        let help = "Executions of a listener that failed on this node";
        r.register("failed", help, self.failed.clone());
        let help = "Executions that run on this node";
        r.register("in_flight", help, self.in_flight.clone());
        let help = "Duration of an execution";
        r.register_with_unit("handling", help, Unit::Seconds, self.handling.clone());
        let help = "Age of the oldest event that is being executed on this node, since it was \
                    published or first failed; events that wait behind it are younger";
        r.register_with_unit("oldest_in_hand", help, Unit::Seconds, self.oldest.clone());
    }

    pub(super) fn listener(&self, label: &GroupLabel) {
        drop(self.handled.get_or_create(label));
        drop(self.failed.get_or_create(label));
        drop(self.in_flight.get_or_create(label));
        drop(self.oldest.get_or_create(label));
    }

    /// Sets the series that change with time alone. Called for each scrape.
    pub(super) fn refresh(&self, now: OffsetDateTime) {
        for (label, open) in &*self.open.lock() {
            let oldest = open.events.first();
            let age = oldest.map(|event| (now - event.waiting_since).as_seconds_f64().max(0.0));
            self.oldest.get_or_create(label).set(age.unwrap_or(0.0));
        }
    }
}

/// Execution that runs. Dropping the guard counts the execution as failed, unless
/// [`RunningExecution::handled`] was called.
pub struct RunningExecution<'a> {
    counters: &'a ExecutionCounters,
    clock: &'a Clock,
    label: GroupLabel,
    event: OpenEvent,
    began: Instant,
    handled: bool,
}

impl Metrics {
    /// Counts the beginning of an execution; dropping the returned guard counts its end. `attempt`
    /// is 0 for the first execution of an event. `waiting_since` is when the event was published or
    /// first failed, if that is known.
    #[must_use]
    pub fn execution(
        &self,
        bus: &BusName,
        group: &GroupName,
        attempt: u32,
        waiting_since: Option<OffsetDateTime>,
    ) -> RunningExecution<'_> {
        if attempt > 0 {
            self.retried(bus, group);
        }
        let counters = &self.executions;
        let clock = &self.clock;
        let label = GroupLabel::new(bus, group);
        counters.in_flight.get_or_create(&label).inc();
        let waiting_since = waiting_since.unwrap_or_else(|| clock.now());
        let event = counters.open.lock().entry(label.clone()).or_default().begin(waiting_since);
        let began = clock.monotonic();
        RunningExecution { counters, clock, label, event, began, handled: false }
    }
}

impl OpenExecutions {
    fn begin(&mut self, waiting_since: OffsetDateTime) -> OpenEvent {
        self.begun += 1;
        let event = OpenEvent { waiting_since, number: self.begun };
        self.events.insert(event);
        event
    }
}

impl RunningExecution<'_> {
    /// Counts the execution as successful.
    pub fn handled(mut self) {
        self.handled = true;
    }
}

impl Drop for RunningExecution<'_> {
    fn drop(&mut self) {
        let Self { counters, label, .. } = self;
        if let Some(open) = counters.open.lock().get_mut(label) {
            open.events.remove(&self.event);
        }
        counters.in_flight.get_or_create(label).dec();
        counters
            .handling
            .get_or_create(label)
            .observe(self.clock.elapsed(self.began).as_secs_f64());
        let counter = if self.handled { &counters.handled } else { &counters.failed };
        counter.get_or_create(label).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn begin(metrics: &Metrics, attempt: u32, age: Duration) -> RunningExecution<'_> {
        let (bus, group) = (BusName::parse("b").unwrap(), GroupName::parse("g").unwrap());
        metrics.execution(&bus, &group, attempt, Some(metrics.clock.now() - age))
    }

    fn oldest(metrics: &Metrics) -> f64 {
        let text = metrics.encode();
        let line = text.lines().find(|line| line.starts_with("hearken_oldest_in_hand_seconds{"));
        line.unwrap().rsplit(' ').next().unwrap().parse().unwrap()
    }

    #[test]
    fn the_oldest_event_is_the_oldest_whose_execution_has_not_ended() {
        let metrics = Metrics::default();
        let (old, young) = (Duration::from_mins(5), Duration::from_mins(1));
        let older = begin(&metrics, 0, old);
        let younger = begin(&metrics, 0, young);
        let retried = begin(&metrics, 1, Duration::from_hours(1));
        assert!((3600.0..3660.0).contains(&oldest(&metrics)), "{}", oldest(&metrics));
        drop(retried);
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
