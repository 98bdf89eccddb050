//! What is counted. Every series exists from the start with zero, so that its absence means that
//! hearken is not there. No label comes from user data except group and bus.

mod events;
mod executions;

pub use events::CONNECTIONS;
pub use executions::Running;

use crate::domain::{
    drift::DriftKind,
    name::{BusName, GroupName},
};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{sync::atomic::AtomicU64, time::Duration};

/// A label with one name.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OutcomeLabel {
    outcome: &'static str,
}

/// The kind of a drift.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct DriftLabel {
    kind: &'static str,
}

/// A listener.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Group {
    bus: String,
    group: String,
}

/// A bus.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Bus {
    bus: String,
}

/// A kind of request. The route is the pattern, never the path.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabel {
    method: String,
    route: String,
    status: u16,
}

/// The ways a command ends.
pub const COMMAND_OUTCOMES: [&str; 6] =
    ["accepted", "replayed", "refused", "stale", "contention", "unavailable"];
/// The ways a pass ends.
pub const PASS_OUTCOMES: [&str; 5] = ["clean", "changed", "busy", "blocked", "failed"];

const DRIFT_KINDS: [(DriftKind, &str); 4] = [
    (DriftKind::Missing, "missing"),
    (DriftKind::Surplus, "surplus"),
    (DriftKind::Divergent, "divergent"),
    (DriftKind::Foreign, "foreign"),
];

type Seconds = Gauge<f64, AtomicU64>;

/// The counters of one process.
pub struct Metrics {
    registry: Registry,
    roster_version: Gauge,
    tail_lag: Gauge,
    commands: Family<OutcomeLabel, Counter>,
    passes: Family<OutcomeLabel, Counter>,
    pass_duration: Histogram,
    steps: Family<OutcomeLabel, Counter>,
    drift: Family<DriftLabel, Gauge>,
    oldest_drift: Seconds,
    dispatched: Family<Bus, Counter>,
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
        let mut metrics = Self {
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
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        let secs = Unit::Seconds;
        r.register(
            "roster_version",
            "Version of the roster this node works by",
            self.roster_version.clone(),
        );
        r.register("tail_lag", "Versions this node is behind the log", self.tail_lag.clone());
        r.register("commands", "Commands taken by this node, by outcome", self.commands.clone());
        r.register(
            "passes",
            "Passes of the reconciler on this node, by outcome",
            self.passes.clone(),
        );
        r.register_with_unit(
            "pass_duration",
            "Duration of a pass",
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
            "Objects that differ, as of this node's last pass, by kind",
            self.drift.clone(),
        );
        r.register_with_unit(
            "oldest_drift",
            "Age of the oldest drift",
            secs.clone(),
            self.oldest_drift.clone(),
        );
        r.register("dispatched", "Events accepted by this node", self.dispatched.clone());
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

    /// The text that Prometheus reads.
    #[must_use]
    pub fn encode(&self) -> String {
        self.executions.refresh();
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    /// The roster's version, and how far behind the log it is.
    pub fn roster(&self, version: u64, lag: u64) {
        self.roster_version.set(i64::try_from(version).unwrap_or(i64::MAX));
        self.tail_lag.set(i64::try_from(lag).unwrap_or(i64::MAX));
    }

    /// A command ended: one of [`COMMAND_OUTCOMES`].
    pub fn command(&self, outcome: &'static str) {
        self.commands.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// A pass ended: one of [`PASS_OUTCOMES`].
    pub fn pass(&self, outcome: &'static str, took: Duration) {
        self.passes.get_or_create(&OutcomeLabel { outcome }).inc();
        self.pass_duration.observe(took.as_secs_f64());
    }

    /// A step ended: `done`, `failed` or `skipped`.
    pub fn step(&self, outcome: &'static str) {
        self.steps.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// What differs, and the age of the oldest difference.
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

    /// So many events were accepted.
    pub fn dispatched(&self, bus: &BusName, events: usize) {
        self.dispatched.get_or_create(&Bus { bus: bus.to_string() }).inc_by(events as u64);
    }

    /// A bus exists: its counters start at zero.
    pub fn bus(&self, bus: &BusName) {
        let label = Bus { bus: bus.to_string() };
        drop(self.dispatched.get_or_create(&label));
        self.events.bus(&label);
    }

    /// A listener runs here: its counters start at zero.
    pub fn listener(&self, bus: &BusName, group: &GroupName) {
        let label = Group { bus: bus.to_string(), group: group.to_string() };
        self.executions.listener(&label);
        self.events.listener(&label);
    }

    /// A request was answered. `route` is the pattern that matched, or `none`.
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
    fn every_fixed_series_is_there_from_the_start() {
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
