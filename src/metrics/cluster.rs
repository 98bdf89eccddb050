//! Series that describe the cluster. They are read from the database for a scrape, so every node
//! shows the same values, and an aggregation over nodes takes their maximum and not their sum.

use super::{
    Metrics, Seconds,
    labels::{BusLabel, DriftLabel, GroupLabel, RecordLabel, StateLabel},
};
use crate::domain::{
    dead_letter::{DISPATCH_FAILURE, PARKED},
    drift::{DriftKind, Remedy},
    name::{BusName, GroupName},
    report::{TopologyState, TopologyStatus},
};
use parking_lot::Mutex;
use prometheus_client::{
    metrics::{family::Family, gauge::Gauge},
    registry::{Registry, Unit},
};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// Age up to which a scrape sees the last read values. Several scrapers then cost one read.
const FRESH: Duration = Duration::from_secs(10);

const DRIFT_KINDS: [(DriftKind, &str); 5] = [
    (DriftKind::Missing, "missing"),
    (DriftKind::Surplus, "surplus"),
    (DriftKind::Divergent, "divergent"),
    (DriftKind::Foreign, "foreign"),
    (DriftKind::Orphan, "orphan"),
];

const STATES: [(TopologyState, &str); 5] = [
    (TopologyState::Converged, "converged"),
    (TopologyState::Pending, "pending"),
    (TopologyState::Drifted, "drifted"),
    (TopologyState::Blocked, "blocked"),
    (TopologyState::Unknown, "unknown"),
];

/// Kinds of records that are counted.
const RECORDS: [&str; 3] = ["task", "command", "pass"];

/// What a node read of the cluster for a scrape.
#[derive(Debug)]
pub struct ClusterState {
    /// Newest version of the roster's log.
    pub head: u64,
    /// Result of the last pass of any node.
    pub topology: TopologyStatus,
    /// Number of stored tasks.
    pub tasks: u64,
    /// Number of stored ids of commands.
    pub commands: u64,
    /// Number of stored passes.
    pub passes: u64,
    /// Dead letters by group.
    pub dead_letters: Vec<GroupUsage>,
}

/// Dead letters of a group on a bus.
#[derive(Debug, Clone)]
pub struct GroupUsage {
    /// The bus.
    pub bus: BusName,
    /// The group.
    pub group: GroupName,
    /// Number of entries.
    pub entries: u64,
    /// Bytes of the entries' events.
    pub bytes: u64,
}

/// The series, as a part of [`Metrics`].
#[derive(Default)]
pub(super) struct ClusterGauges {
    topology: Family<StateLabel, Gauge>,
    reconciled: Gauge,
    drift: Family<DriftLabel, Gauge>,
    oldest_drift: Seconds,
    last_pass: Seconds,
    records: Family<RecordLabel, Gauge>,
    dead_letters: Family<GroupLabel, Gauge>,
    dead_letter_bytes: Family<GroupLabel, Gauge>,
    read_at: Seconds,
    known: Mutex<KnownCluster>,
}

/// What was read last, as far as a later scrape needs it.
#[derive(Default)]
struct KnownCluster {
    asked: Option<Instant>,
    head: u64,
    /// When the oldest difference that hearken repairs was first seen.
    drift_since: Option<OffsetDateTime>,
    /// Groups that had dead letters in any read.
    groups: HashSet<GroupLabel>,
}

impl ClusterGauges {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "Cluster-wide: 1 for the state of the topology, 0 for the other states";
        r.register("cluster_topology_state", help, self.topology.clone());
        let help = "Cluster-wide: version of the roster that the broker was last seen to follow";
        r.register("cluster_reconciled_version", help, self.reconciled.clone());
        let help = "Cluster-wide: differences between broker and roster after the last pass";
        r.register("cluster_drift", help, self.drift.clone());
        let help = "Cluster-wide: age of the oldest difference that hearken repairs by itself";
        let secs = Unit::Seconds;
        r.register_with_unit("cluster_oldest_drift", help, secs.clone(), self.oldest_drift.clone());
        let help = "Cluster-wide: time of the last pass that read the broker; 0 before any";
        let last_pass = self.last_pass.clone();
        r.register_with_unit("cluster_last_pass_timestamp", help, secs.clone(), last_pass);
        let help = "Cluster-wide: stored records that are swept, by kind";
        r.register("cluster_records", help, self.records.clone());
        let help = "Cluster-wide: dead letters";
        r.register("cluster_dead_letters", help, self.dead_letters.clone());
        let help = "Cluster-wide: size of the events of the dead letters";
        let bytes = self.dead_letter_bytes.clone();
        r.register_with_unit("cluster_dead_letter", help, Unit::Bytes, bytes);
        let help = "Time at which this node last read the cluster-wide series; 0 before the first";
        r.register_with_unit("cluster_read_timestamp", help, secs, self.read_at.clone());
    }

    pub(super) fn start_at_zero(&self) {
        for (_, state) in STATES {
            drop(self.topology.get_or_create(&StateLabel { state }));
        }
        for (_, kind) in DRIFT_KINDS {
            drop(self.drift.get_or_create(&DriftLabel { kind }));
        }
        for record in RECORDS {
            drop(self.records.get_or_create(&RecordLabel { record }));
        }
    }

    pub(super) fn bus(&self, label: &BusLabel) {
        for group in [DISPATCH_FAILURE, PARKED] {
            self.group(&label.group(group));
        }
    }

    pub(super) fn group(&self, label: &GroupLabel) {
        drop(self.dead_letters.get_or_create(label));
        drop(self.dead_letter_bytes.get_or_create(label));
    }

    /// Sets the series that change with time alone. Called for each scrape. Returns the newest
    /// version of the log that was read.
    pub(super) fn refresh(&self, now: OffsetDateTime) -> u64 {
        let known = self.known.lock();
        let age = known.drift_since.map(|since| (now - since).as_seconds_f64().max(0.0));
        self.oldest_drift.set(age.unwrap_or(0.0));
        known.head
    }

    fn set_topology(&self, status: &TopologyStatus) {
        for (state, name) in STATES {
            let gauge = self.topology.get_or_create(&StateLabel { state: name });
            gauge.set(i64::from(state == status.state));
        }
        self.reconciled.set(number(status.reconciled_version));
        self.last_pass.set(status.observed_at.map_or(0.0, seconds));
        for (kind, name) in DRIFT_KINDS {
            let count = status.drift.iter().filter(|drift| drift.kind == kind).count();
            self.drift.get_or_create(&DriftLabel { kind: name }).set(number(count as u64));
        }
    }

    fn set_dead_letters(&self, usage: &[GroupUsage], known: &mut KnownCluster) {
        let mut gone = known.groups.clone();
        for GroupUsage { bus, group, entries, bytes } in usage {
            let label = GroupLabel::new(bus, group);
            self.dead_letters.get_or_create(&label).set(number(*entries));
            self.dead_letter_bytes.get_or_create(&label).set(number(*bytes));
            gone.remove(&label);
            known.groups.insert(label);
        }
        for label in gone {
            self.dead_letters.get_or_create(&label).set(0);
            self.dead_letter_bytes.get_or_create(&label).set(0);
        }
    }
}

/// First sighting of the oldest difference that hearken repairs by itself and at once. What is
/// foreign, waits for an administrator or waits until a queue is drained does not count.
fn oldest_repairable(status: &TopologyStatus) -> Option<OffsetDateTime> {
    let repairable = status.drift.iter().filter(|drift| {
        drift.kind != DriftKind::Foreign
            && !matches!(drift.remedy, Remedy::Report | Remedy::Migrate | Remedy::Delete)
    });
    repairable.map(|drift| drift.since).min()
}

fn seconds(at: OffsetDateTime) -> f64 {
    (at - OffsetDateTime::UNIX_EPOCH).as_seconds_f64()
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Metrics {
    /// Whether the state of the cluster should be read again. Of several callers at the same time,
    /// only one gets `true`.
    pub fn wants_cluster_state(&self) -> bool {
        let mut known = self.cluster.known.lock();
        if known.asked.is_some_and(|at| self.clock.elapsed(at) < FRESH) {
            return false;
        }
        known.asked = Some(self.clock.monotonic());
        true
    }

    /// Sets the series that describe the cluster.
    pub fn cluster_state(&self, state: &ClusterState) {
        let gauges = &self.cluster;
        gauges.set_topology(&state.topology);
        for (record, count) in RECORDS.iter().zip([state.tasks, state.commands, state.passes]) {
            gauges.records.get_or_create(&RecordLabel { record }).set(number(count));
        }
        gauges.read_at.set(seconds(self.clock.now()));
        let mut known = gauges.known.lock();
        known.head = state.head;
        known.drift_since = oldest_repairable(&state.topology);
        gauges.set_dead_letters(&state.dead_letters, &mut known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        domain::{drift::ObjectKind, report::DriftReport},
    };

    fn state() -> ClusterState {
        ClusterState {
            head: 0,
            topology: TopologyStatus::default(),
            tasks: 0,
            commands: 0,
            passes: 0,
            dead_letters: Vec::new(),
        }
    }

    fn drift(kind: DriftKind, remedy: Remedy, since: OffsetDateTime) -> DriftReport {
        let (expected, found) = (None, None);
        let (object, name) = (ObjectKind::Queue, "q".to_owned());
        DriftReport {
            kind,
            object,
            name,
            expected,
            found,
            since,
            remedy,
            unfinished: false,
            refusal: None,
        }
    }

    #[test]
    fn a_group_whose_dead_letters_are_gone_shows_zero() {
        let metrics = Metrics::default();
        let (bus, group) = (BusName::parse("b").unwrap(), GroupName::parse("g").unwrap());
        let dead_letters = vec![GroupUsage { bus, group, entries: 3, bytes: 70 }];
        metrics.cluster_state(&ClusterState { dead_letters, ..state() });
        let labels = "{bus=\"b\",group=\"g\"}";
        let text = metrics.encode();
        assert!(text.contains(&format!("hearken_cluster_dead_letters{labels} 3")), "{text}");
        assert!(text.contains(&format!("hearken_cluster_dead_letter_bytes{labels} 70")), "{text}");
        metrics.cluster_state(&state());
        assert!(metrics.encode().contains(&format!("hearken_cluster_dead_letters{labels} 0")));
    }

    #[test]
    fn the_oldest_drift_ages_between_reads_and_leaves_out_what_waits() {
        let (clock, hand) = Clock::turnable();
        let metrics = Metrics::new(clock.clone());
        let ago = |seconds| clock.now() - time::Duration::seconds(seconds);
        let mut state = state();
        state.topology.drift = vec![
            drift(DriftKind::Foreign, Remedy::Report, ago(9_000)),
            drift(DriftKind::Surplus, Remedy::Delete, ago(8_000)),
            drift(DriftKind::Divergent, Remedy::Migrate, ago(7_000)),
            drift(DriftKind::Missing, Remedy::Declare, ago(100)),
        ];
        metrics.cluster_state(&state);
        let age = || {
            let text = metrics.encode();
            let start = "hearken_cluster_oldest_drift_seconds ";
            let value = text.lines().find_map(|line| line.strip_prefix(start));
            value.unwrap().parse::<f64>().unwrap()
        };
        assert!((100.0..160.0).contains(&age()), "{}", age());
        hand.forward(Duration::from_mins(10));
        assert!((700.0..760.0).contains(&age()), "{}", age());
        state.topology.drift.clear();
        metrics.cluster_state(&state);
        assert!(age() == 0.0);
    }

    #[test]
    fn one_state_of_the_topology_is_one_and_the_lag_is_counted_from_the_log() {
        let metrics = Metrics::default();
        metrics.roster(4);
        let topology = TopologyStatus { state: TopologyState::Blocked, ..state().topology };
        metrics.cluster_state(&ClusterState { head: 7, topology, ..state() });
        let text = metrics.encode();
        for series in [
            "hearken_cluster_topology_state{state=\"blocked\"} 1",
            "hearken_cluster_topology_state{state=\"unknown\"} 0",
            "hearken_tail_lag 3",
        ] {
            assert!(text.contains(series), "{series} is missing from\n{text}");
        }
        metrics.roster(8);
        assert!(metrics.encode().contains("hearken_tail_lag 0"));
    }

    #[test]
    fn the_cluster_is_read_at_most_every_ten_seconds() {
        let (clock, hand) = Clock::turnable();
        let metrics = Metrics::new(clock);
        assert!(metrics.wants_cluster_state());
        assert!(!metrics.wants_cluster_state());
        hand.forward(FRESH);
        assert!(metrics.wants_cluster_state());
    }
}
