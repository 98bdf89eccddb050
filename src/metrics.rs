//! Metrics of one process, for Prometheus.
//!
//! Every series exists from the start with zero, so that an absent series means that hearken does
//! not run.

mod events;
mod executions;
mod labels;

pub use events::CONNECTIONS;
pub use executions::RunningExecution;

use crate::{
    clock::Clock,
    domain::{
        drift::DriftKind,
        name::{BusName, GroupName},
    },
};
use labels::{BusLabel, DriftLabel, GroupLabel, OutcomeLabel, RequestLabel};
use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{sync::atomic::AtomicU64, time::Duration};

/// Outcomes of a command.
pub const COMMAND_OUTCOMES: [&str; 6] =
    ["accepted", "replayed", "refused", "stale", "contention", "unavailable"];
/// Outcomes of a pass.
pub const PASS_OUTCOMES: [&str; 5] = ["clean", "changed", "busy", "blocked", "failed"];

const DRIFT_KINDS: [(DriftKind, &str); 5] = [
    (DriftKind::Missing, "missing"),
    (DriftKind::Surplus, "surplus"),
    (DriftKind::Divergent, "divergent"),
    (DriftKind::Foreign, "foreign"),
    (DriftKind::Orphan, "orphan"),
];

type Seconds = Gauge<f64, AtomicU64>;

/// Series of one process.
pub struct Metrics {
    clock: Clock,
    registry: Registry,
    roster_version: Gauge,
    tail_lag: Gauge,
    commands: Family<OutcomeLabel, Counter>,
    passes: Family<OutcomeLabel, Counter>,
    pass_duration: Histogram,
    steps: Family<OutcomeLabel, Counter>,
    drift: Family<DriftLabel, Gauge>,
    oldest_drift: Seconds,
    dispatched: Family<BusLabel, Counter>,
    requests: Family<RequestLabel, Counter>,
    request_duration: Histogram,
    events: events::EventCounters,
    executions: executions::ExecutionCounters,
}

fn buckets() -> Histogram {
    Histogram::new([0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0])
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new(Clock::system())
    }
}

impl Metrics {
    /// Series that are zero. The clock measures the age of events.
    #[must_use]
    pub fn new(clock: Clock) -> Self {
        let mut metrics = Self {
            clock,
            registry: Registry::with_prefix("hearken"),
            roster_version: Gauge::default(),
            tail_lag: Gauge::default(),
            commands: Family::default(),
            passes: Family::default(),
            pass_duration: buckets(),
            steps: Family::default(),
            drift: Family::default(),
            oldest_drift: Seconds::default(),
            dispatched: Family::default(),
            requests: Family::default(),
            request_duration: buckets(),
            events: events::EventCounters::default(),
            executions: executions::ExecutionCounters::default(),
        };
        metrics.register();
        metrics.start_at_zero();
        metrics
    }

    fn register(&mut self) {
        let r = &mut self.registry;
        let secs = Unit::Seconds;
        r.register(
            "roster_version",
            "Version of the roster that this node works from",
            self.roster_version.clone(),
        );
        r.register(
            "tail_lag",
            "Versions that this node is behind the log of the roster",
            self.tail_lag.clone(),
        );
        r.register(
            "commands",
            "Commands that this node executed, by outcome",
            self.commands.clone(),
        );
        r.register("passes", "Reconciliation passes of this node, by outcome", self.passes.clone());
        r.register_with_unit(
            "pass_duration",
            "Duration of a reconciliation pass",
            secs.clone(),
            self.pass_duration.clone(),
        );
        r.register(
            "steps",
            "Steps applied to the broker by this node, by outcome",
            self.steps.clone(),
        );
        r.register(
            "drift",
            "Differences between the broker and the roster in this node's last pass, by kind",
            self.drift.clone(),
        );
        r.register_with_unit(
            "oldest_drift",
            "Age of the oldest difference between the broker and the roster",
            secs.clone(),
            self.oldest_drift.clone(),
        );
        r.register("dispatched", "Events that this node accepted", self.dispatched.clone());
        r.register(
            "http_requests",
            "HTTP requests by method, route and status",
            self.requests.clone(),
        );
        r.register_with_unit(
            "http_duration",
            "Duration of an HTTP request",
            secs,
            self.request_duration.clone(),
        );
        self.events.register(r);
        self.executions.register(r);
    }

    fn start_at_zero(&self) {
        for outcome in COMMAND_OUTCOMES {
            drop(self.commands.get_or_create(&OutcomeLabel { outcome }));
        }
        for outcome in PASS_OUTCOMES {
            drop(self.passes.get_or_create(&OutcomeLabel { outcome }));
        }
        for outcome in ["done", "failed", "skipped"] {
            drop(self.steps.get_or_create(&OutcomeLabel { outcome }));
        }
        for (_, kind) in DRIFT_KINDS {
            drop(self.drift.get_or_create(&DriftLabel { kind }));
        }
        self.events.start_at_zero();
    }

    /// Text that Prometheus reads.
    #[must_use]
    pub fn encode(&self) -> String {
        self.executions.refresh(self.clock.now());
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// Sets the version of the roster, and how many versions it is behind the log.
    pub fn roster(&self, version: u64, lag: u64) {
        self.roster_version.set(i64::try_from(version).unwrap_or(i64::MAX));
        self.tail_lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// Counts a command that ended with one of [`COMMAND_OUTCOMES`].
    pub fn command(&self, outcome: &'static str) {
        self.commands.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts a pass that ended with one of [`PASS_OUTCOMES`].
    pub fn pass(&self, outcome: &'static str, took: Duration) {
        self.passes.get_or_create(&OutcomeLabel { outcome }).inc();
        self.pass_duration.observe(took.as_secs_f64());
    }

    /// Counts a step that ended as `done`, `failed` or `skipped`.
    pub fn step(&self, outcome: &'static str) {
        self.steps.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Sets the number of differences by kind, and the age of the oldest one.
    pub fn drift(&self, kinds: impl Iterator<Item = DriftKind>, oldest: Duration) {
        let mut counts = [0i64; DRIFT_KINDS.len()];
        for kind in kinds {
            if let Some(index) = DRIFT_KINDS.iter().position(|(each, _)| *each == kind) {
                counts[index] += 1;
            }
        }
        for ((_, kind), count) in DRIFT_KINDS.iter().zip(counts) {
            self.drift.get_or_create(&DriftLabel { kind }).set(count);
        }
        self.oldest_drift.set(oldest.as_secs_f64());
    }

    /// Counts events that this node accepted.
    pub fn dispatched(&self, bus: &BusName, events: usize) {
        self.dispatched.get_or_create(&BusLabel::new(bus)).inc_by(events as u64);
    }

    /// Starts the series of a bus at zero.
    pub fn bus(&self, bus: &BusName) {
        let label = BusLabel::new(bus);
        drop(self.dispatched.get_or_create(&label));
        self.events.bus(&label);
    }

    /// Starts the series of a listener that runs on this node at zero.
    pub fn listener(&self, bus: &BusName, group: &GroupName) {
        let label = GroupLabel::new(bus, group);
        self.executions.listener(&label);
        self.events.listener(&label);
    }

    /// Counts an answered request. `route` is the pattern that matched, or `none`.
    pub fn http(&self, route: &str, method: &str, status: u16, took: Duration) {
        let label = RequestLabel { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&label).inc();
        self.request_duration.observe(took.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixed_series_exists_from_the_start() {
        let text = Metrics::default().encode();
        for series in [
            "hearken_commands_total{outcome=\"accepted\"} 0",
            "hearken_passes_total{outcome=\"blocked\"} 0",
            "hearken_drift{kind=\"missing\"} 0",
            "hearken_roster_version 0",
        ] {
            assert!(text.contains(series), "{series} is missing from\n{text}");
        }
    }
}
