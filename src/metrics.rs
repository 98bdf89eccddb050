//! Metrics of one process, for Prometheus.
//!
//! Every series exists from the start with zero, so that an absent series means that hearken does
//! not run.

mod cluster;
mod events;
mod executions;
mod labels;
mod node;

pub use cluster::{ClusterState, GroupUsage};
pub use events::CONNECTIONS;
pub use executions::RunningExecution;
pub use node::DatabaseConnections;

use crate::{
    clock::Clock,
    domain::name::{BusName, GroupName},
};
use labels::{BusLabel, GroupLabel, OutcomeLabel, RecordLabel, RequestLabel, RouteLabel};
use prometheus_client::{
    encoding::text::{encode_eof, encode_registry},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use std::{
    sync::atomic::AtomicU64,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// Outcomes of a command.
pub const COMMAND_OUTCOMES: [&str; 6] =
    ["accepted", "replayed", "refused", "stale", "contention", "unavailable"];
/// Outcomes of a pass.
pub const PASS_OUTCOMES: [&str; 5] = ["clean", "changed", "busy", "blocked", "failed"];

/// Kinds of records that are swept.
const SWEPT_RECORDS: [&str; 5] = ["dead-letter", "task", "command", "pass", "node"];

type Seconds = Gauge<f64, AtomicU64>;

/// Series of one process.
pub struct Metrics {
    clock: Clock,
    registry: Registry,
    roster_version: Gauge,
    tail_lag: Gauge,
    health_checks: Counter,
    commands: Family<OutcomeLabel, Counter>,
    passes: Family<OutcomeLabel, Counter>,
    pass_duration: Histogram,
    steps: Family<OutcomeLabel, Counter>,
    dispatched: Family<BusLabel, Counter>,
    swept: Family<RecordLabel, Counter>,
    requests: Family<RequestLabel, Counter>,
    request_duration: Family<RouteLabel, Histogram>,
    management: Family<OutcomeLabel, Counter>,
    management_duration: Histogram,
    cluster: cluster::ClusterGauges,
    node: node::NodeGauges,
    /// Series that every program calls the same, without a prefix.
    process: Registry,
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
            health_checks: Counter::default(),
            commands: Family::default(),
            passes: Family::default(),
            pass_duration: buckets(),
            steps: Family::default(),
            dispatched: Family::default(),
            swept: Family::default(),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(buckets),
            management: Family::default(),
            management_duration: buckets(),
            cluster: cluster::ClusterGauges::default(),
            node: node::NodeGauges::default(),
            process: Registry::default(),
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
            "health_checks",
            "Times that this node computed its health",
            self.health_checks.clone(),
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
        r.register("dispatched", "Events that this node accepted", self.dispatched.clone());
        let help = "Old records that this node removed, by kind";
        r.register("swept", help, self.swept.clone());
        r.register(
            "http_requests",
            "HTTP requests by method, route and status",
            self.requests.clone(),
        );
        r.register_with_unit(
            "http_duration",
            "Duration of an HTTP request, by route",
            secs.clone(),
            self.request_duration.clone(),
        );
        let help = "Requests of this node to the management API of the broker, by outcome";
        r.register("management_requests", help, self.management.clone());
        let help = "Duration of a request to the management API of the broker";
        r.register_with_unit("management_duration", help, secs, self.management_duration.clone());
        self.cluster.register(r);
        self.node.register(r);
        self.node.register_process(&mut self.process);
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
        for outcome in ["answered", "failed"] {
            drop(self.management.get_or_create(&OutcomeLabel { outcome }));
        }
        self.cluster.start_at_zero();
        let started = self.clock.now() - OffsetDateTime::UNIX_EPOCH;
        self.node.start_at_zero(started.as_seconds_f64());
        for record in SWEPT_RECORDS {
            drop(self.swept.get_or_create(&RecordLabel { record }));
        }
        self.events.start_at_zero();
    }

    /// Text that Prometheus reads.
    #[must_use]
    pub fn encode(&self) -> String {
        self.executions.refresh(self.clock.now());
        let head = self.cluster.refresh(self.clock.now());
        let head = i64::try_from(head).unwrap_or(i64::MAX);
        self.tail_lag.set((head - self.roster_version.get()).max(0));
        self.node.refresh();
        let mut text = String::new();
        // Writing to a String does not fail.
        let _ = encode_registry(&mut text, &self.registry);
        let _ = encode_registry(&mut text, &self.process);
        let _ = encode_eof(&mut text);
        text
    }

    /// Sets the version of the roster that this node works from.
    pub fn roster(&self, version: u64) {
        self.roster_version.set(i64::try_from(version).unwrap_or(i64::MAX));
    }

    /// Counts a command that ended with one of [`COMMAND_OUTCOMES`].
    pub fn command(&self, outcome: &'static str) {
        self.commands.get_or_create(&OutcomeLabel { outcome }).inc();
    }

    /// Counts a computation of the node's health.
    pub fn health_checked(&self) {
        self.health_checks.inc();
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

    /// Counts events that this node accepted.
    pub fn dispatched(&self, bus: &BusName, events: usize) {
        self.dispatched.get_or_create(&BusLabel::new(bus)).inc_by(events as u64);
    }

    /// Counts old records that this node removed.
    pub fn swept(&self, record: &'static str, count: u64) {
        self.swept.get_or_create(&RecordLabel { record }).inc_by(count);
    }

    /// Starts the series of a bus at zero.
    pub fn bus(&self, bus: &BusName) {
        let label = BusLabel::new(bus);
        drop(self.dispatched.get_or_create(&label));
        self.events.bus(&label);
        self.cluster.bus(&label);
    }

    /// Starts the series of a listener that runs on this node at zero.
    pub fn listener(&self, bus: &BusName, group: &GroupName) {
        let label = GroupLabel::new(bus, group);
        self.executions.listener(&label);
        self.events.listener(&label);
        self.cluster.group(&label);
    }

    /// Counts an answered request. `route` is the pattern that matched, or `none`.
    pub fn http(&self, route: &str, method: &str, status: u16, took: Duration) {
        let label = RequestLabel { method: method.to_owned(), route: route.to_owned(), status };
        self.requests.get_or_create(&label).inc();
        let label = RouteLabel { route: route.to_owned() };
        self.request_duration.get_or_create(&label).observe(took.as_secs_f64());
    }

    /// Begins to measure a request to the management API. Dropping the guard counts the request as
    /// failed, unless [`ManagementRequest::answered`] was called.
    #[must_use]
    pub fn management_request(&self) -> ManagementRequest<'_> {
        ManagementRequest { metrics: self, began: self.clock.monotonic(), outcome: "failed" }
    }
}

/// Request to the management API that runs.
pub struct ManagementRequest<'a> {
    metrics: &'a Metrics,
    began: Instant,
    outcome: &'static str,
}

impl ManagementRequest<'_> {
    /// Counts the request as answered.
    pub fn answered(mut self) {
        self.outcome = "answered";
    }
}

impl Drop for ManagementRequest<'_> {
    fn drop(&mut self) {
        let Self { metrics, began, outcome } = *self;
        metrics.management.get_or_create(&OutcomeLabel { outcome }).inc();
        metrics.management_duration.observe(metrics.clock.elapsed(began).as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::retention::DeadLetterQuota;

    #[test]
    fn every_fixed_series_exists_from_the_start() {
        let text = Metrics::default().encode();
        for series in [
            "hearken_commands_total{outcome=\"accepted\"} 0",
            "hearken_passes_total{outcome=\"blocked\"} 0",
            "hearken_cluster_drift{kind=\"missing\"} 0",
            "hearken_management_requests_total{outcome=\"failed\"} 0",
            "hearken_node_state{state=\"ready\"} 0",
            "hearken_roster_version 0",
        ] {
            assert!(text.contains(series), "{series} is missing from\n{text}");
        }
    }

    #[test]
    fn the_page_on_observing_lists_every_series() {
        let metrics = Metrics::default();
        let (bus, group) = (BusName::parse("b").unwrap(), GroupName::parse("g").unwrap());
        metrics.bus(&bus);
        metrics.listener(&bus, &group);
        metrics.http("/", "GET", 200, Duration::ZERO);
        metrics.execution(&bus, &group, 0, None).handled();
        let connections = DatabaseConnections { used: 0, idle: 0, most: 1 };
        metrics.database(connections, DeadLetterQuota::default());
        let page = include_str!("../docs/observing.md");
        let text = metrics.encode();
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        let names = types.map(|line| match line.split_once(' ') {
            Some((name, "counter")) => format!("{name}_total"),
            Some((name, "info")) => format!("{name}_info"),
            Some((name, _)) => name.to_owned(),
            None => panic!("a type line without a type: {line}"),
        });
        let missing: Vec<_> =
            names.filter(|name| !page.contains(&format!("| `{name}` |"))).collect();
        assert!(missing.is_empty(), "docs/observing.md lacks {missing:?}");
    }
}
