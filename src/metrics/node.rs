//! Series that describe this node and its process.

use super::{
    Metrics, Seconds,
    labels::{LimitLabel, StateLabel},
};
use crate::domain::{
    report::{ListenerState, ListenerStatus, NodeState},
    retention::DeadLetterQuota,
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge, info::Info},
    registry::{Registry, Unit},
};
use std::{
    fs,
    sync::atomic::{AtomicU64, Ordering},
};

const NODE_STATES: [(NodeState, &str); 4] = [
    (NodeState::Starting, "starting"),
    (NodeState::Ready, "ready"),
    (NodeState::Degraded, "degraded"),
    (NodeState::Stopping, "stopping"),
];

const LISTENER_STATES: [(ListenerState, &str); 6] = [
    (ListenerState::Running, "running"),
    (ListenerState::Starting, "starting"),
    (ListenerState::Paused, "paused"),
    (ListenerState::Outdated, "outdated"),
    (ListenerState::UnknownClass, "unknown-class"),
    (ListenerState::Failed, "failed"),
];

/// Connections of a node to its database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DatabaseConnections {
    /// Connections that run a statement.
    pub used: u64,
    /// Connections that are open and wait for a statement.
    pub idle: u64,
    /// Largest number of connections.
    pub most: u64,
}

/// The series, as a part of [`Metrics`].
#[derive(Default)]
pub(super) struct NodeGauges {
    state: Family<StateLabel, Gauge>,
    listeners: Family<StateLabel, Gauge>,
    connections: Family<StateLabel, Gauge>,
    most_connections: Gauge,
    quota: Family<LimitLabel, Gauge>,
    memory: Gauge,
    cpu: Counter<f64, AtomicU64>,
    files: Gauge,
    started: Seconds,
}

impl NodeGauges {
    pub(super) fn register(&self, r: &mut Registry) {
        let help = "The version of hearken on this node";
        r.register("build", help, Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]));
        let help = "1 for the state of this node, 0 for the other states";
        r.register("node_state", help, self.state.clone());
        let help = "Listeners of this node, by state";
        r.register("listeners", help, self.listeners.clone());
        let help = "Connections of this node to the database, by use";
        r.register("database_connections", help, self.connections.clone());
        let help = "Largest number of connections of this node to the database";
        r.register("database_connections_limit", help, self.most_connections.clone());
        let help = "Limits of the dead letters of each group";
        r.register("dead_letter_quota", help, self.quota.clone());
    }

    /// Registers what every program calls the same, without hearken's prefix.
    pub(super) fn register_process(&self, r: &mut Registry) {
        let help = "Resident memory of this process";
        r.register_with_unit("process_resident_memory", help, Unit::Bytes, self.memory.clone());
        let help = "Processor time of this process";
        r.register_with_unit("process_cpu", help, Unit::Seconds, self.cpu.clone());
        let help = "Open files and sockets of this process";
        r.register("process_open_fds", help, self.files.clone());
        let help = "Time at which this process started";
        r.register_with_unit("process_start_time", help, Unit::Seconds, self.started.clone());
    }

    pub(super) fn start_at_zero(&self, started: f64) {
        self.started.set(started);
        for (_, state) in NODE_STATES {
            drop(self.state.get_or_create(&StateLabel { state }));
        }
        for (_, state) in LISTENER_STATES {
            drop(self.listeners.get_or_create(&StateLabel { state }));
        }
    }

    /// Reads what the kernel counts of this process. Called for each scrape; costs three small
    /// reads from `/proc`. Elsewhere than on Linux the series stay 0.
    pub(super) fn refresh(&self) {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
        self.memory.set(resident_bytes(&status).unwrap_or(0));
        self.cpu.inner().store(cpu_seconds(&stat).unwrap_or(0.0).to_bits(), Ordering::Relaxed);
        let files = fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
        self.files.set(i64::try_from(files).unwrap_or(i64::MAX));
    }
}

/// Resident memory in `/proc/self/status`.
fn resident_bytes(status: &str) -> Option<i64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()? * 1024)
}

/// Processor time in `/proc/self/stat`: its fields 14 and 15, in hundredths of a second on every
/// architecture that Linux runs on today. The name of the program, which may have spaces, is
/// before the last parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(f64::from(ticks()?) / 100.0 + f64::from(ticks()?) / 100.0)
}

impl Metrics {
    /// Sets the state of this node and of its listeners.
    pub fn node(&self, state: NodeState, listeners: &[ListenerStatus]) {
        for (each, name) in NODE_STATES {
            let gauge = self.node.state.get_or_create(&StateLabel { state: name });
            gauge.set(i64::from(each == state));
        }
        for (each, name) in LISTENER_STATES {
            let count = listeners.iter().filter(|listener| listener.state == each).count();
            let gauge = self.node.listeners.get_or_create(&StateLabel { state: name });
            gauge.set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }

    /// Sets the use of the connections to the database, and the limits of dead letters.
    pub fn database(&self, connections: DatabaseConnections, quota: DeadLetterQuota) {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        let DatabaseConnections { used, idle, most } = connections;
        for (state, count) in [("used", used), ("idle", idle)] {
            self.node.connections.get_or_create(&StateLabel { state }).set(number(count));
        }
        self.node.most_connections.set(number(most));
        for (limit, count) in [("entries", quota.entries), ("bytes", quota.bytes)] {
            self.node.quota.get_or_create(&LimitLabel { limit }).set(number(count));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_counts_are_read_from_its_files() {
        let status = "Name:\thearken\nVmPeak:\t   99 kB\nVmRSS:\t   2048 kB\n";
        assert_eq!(resident_bytes(status), Some(2_097_152));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 0 0 0 0 250 50 0 0 20 0 9 0 100";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!((resident_bytes(""), cpu_seconds("")), (None, None));
    }
}
