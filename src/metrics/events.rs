//! Series of retries, dead letters and notifications.

use super::{
    Metrics,
    labels::{BusLabel, ConnectionLabel, GroupLabel},
};
use crate::domain::{
    dead_letter::{DISPATCH_FAILURE, PARKED},
    name::{BusName, GroupName},
};
use prometheus_client::{
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};

/// Purposes of the connections to the broker.
pub const CONNECTIONS: [&str; 3] = ["publish", "consume", "admin"];

/// The series, as a part of [`Metrics`].
#[derive(Default)]
pub(super) struct EventCounters {
    retried: Family<GroupLabel, Counter>,
    dead_lettered: Family<GroupLabel, Counter>,
    dispatch_failures: Family<BusLabel, Counter>,
    redispatched: Family<BusLabel, Counter>,
    registrations: Family<BusLabel, Gauge>,
    key_bindings: Family<BusLabel, Gauge>,
    notified: Family<BusLabel, Counter>,
    dropped: Family<BusLabel, Counter>,
    reconnects: Family<ConnectionLabel, Counter>,
}

impl EventCounters {
    pub(super) fn register(&self, r: &mut Registry) {
        let group: [(_, _, &Family<GroupLabel, Counter>); 2] = [
            ("retried", "Executions on this node of events that had failed before", &self.retried),
            ("dead_lettered", "Events that became dead letters on this node", &self.dead_lettered),
        ];
        for (name, help, family) in group {
            r.register(name, help, family.clone());
        }
        let bus: [(_, _, &Family<BusLabel, Counter>); 4] = [
            (
                "dispatch_failures",
                "Events that this node could not publish, and kept",
                &self.dispatch_failures,
            ),
            ("redispatched", "Kept events that this node published later", &self.redispatched),
            ("notifications", "Notifications that key listeners of this node got", &self.notified),
            (
                "notifications_dropped",
                "Notifications that were dropped because a key listener of this node was too slow",
                &self.dropped,
            ),
        ];
        for (name, help, family) in bus {
            r.register(name, help, family.clone());
        }
        let help = "Registrations of key listeners on this node";
        r.register("registrations", help, self.registrations.clone());
        let help = "Registration keys that the queue of this node is bound with";
        r.register("key_bindings", help, self.key_bindings.clone());
        let help = "Connections to the broker that were lost and came back";
        r.register("reconnects", help, self.reconnects.clone());
    }

    pub(super) fn start_at_zero(&self) {
        for connection in CONNECTIONS {
            drop(self.reconnects.get_or_create(&ConnectionLabel { connection }));
        }
    }

    pub(super) fn bus(&self, label: &BusLabel) {
        for family in [&self.dispatch_failures, &self.redispatched, &self.notified, &self.dropped] {
            drop(family.get_or_create(label));
        }
        for family in [&self.registrations, &self.key_bindings] {
            drop(family.get_or_create(label));
        }
        for group in [DISPATCH_FAILURE, PARKED] {
            drop(self.dead_lettered.get_or_create(&label.group(group)));
        }
    }

    pub(super) fn listener(&self, label: &GroupLabel) {
        drop(self.retried.get_or_create(label));
        drop(self.dead_lettered.get_or_create(label));
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Metrics {
    /// Counts an execution of an event that failed before.
    pub fn retried(&self, bus: &BusName, group: &GroupName) {
        self.events.retried.get_or_create(&GroupLabel::new(bus, group)).inc();
    }

    /// Counts a new dead letter: a group gave up on an event, or a message was parked.
    pub fn dead_lettered(&self, bus: &BusName, group: &GroupName) {
        self.events.dead_lettered.get_or_create(&GroupLabel::new(bus, group)).inc();
    }

    /// Counts an event that could not be published and was kept.
    pub fn dispatch_failed(&self, bus: &BusName) {
        self.events.dispatch_failures.get_or_create(&BusLabel::new(bus)).inc();
    }

    /// Counts a kept event that was published.
    pub fn redispatched(&self, bus: &BusName) {
        self.events.redispatched.get_or_create(&BusLabel::new(bus)).inc();
    }

    /// Sets the number of registrations of key listeners on this node.
    pub fn registrations(&self, bus: &BusName, count: usize) {
        self.events.registrations.get_or_create(&BusLabel::new(bus)).set(number(count as u64));
    }

    /// Sets the number of keys that the queue of this node is bound with.
    pub fn key_bindings(&self, bus: &BusName, count: usize) {
        self.events.key_bindings.get_or_create(&BusLabel::new(bus)).set(number(count as u64));
    }

    /// Counts a notification that a key listener got.
    pub fn notified(&self, bus: &BusName) {
        self.events.notified.get_or_create(&BusLabel::new(bus)).inc();
    }

    /// Counts a notification that was dropped because its key listener is too slow.
    pub fn notification_dropped(&self, bus: &BusName) {
        self.events.dropped.get_or_create(&BusLabel::new(bus)).inc();
    }

    /// Counts a lost connection that is back, by one of [`CONNECTIONS`].
    pub fn reconnected(&self, connection: &'static str) {
        self.events.reconnects.get_or_create(&ConnectionLabel { connection }).inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_series_of_a_bus_and_a_group_starts_at_zero() {
        let metrics = Metrics::default();
        let (bus, of) = (BusName::parse("b").unwrap(), GroupName::parse("g").unwrap());
        metrics.bus(&bus);
        metrics.listener(&bus, &of);
        let text = metrics.encode();
        for series in [
            "retried_total{bus=\"b\",group=\"g\"}",
            "dead_lettered_total{bus=\"b\",group=\"g\"}",
            "cluster_dead_letters{bus=\"b\",group=\"g\"}",
            "cluster_dead_letters{bus=\"b\",group=\"parked\"}",
            "dead_lettered_total{bus=\"b\",group=\"dispatch-failure\"}",
            "dispatch_failures_total{bus=\"b\"}",
            "redispatched_total{bus=\"b\"}",
            "notifications_total{bus=\"b\"}",
            "notifications_dropped_total{bus=\"b\"}",
            "registrations{bus=\"b\"}",
            "key_bindings{bus=\"b\"}",
            "reconnects_total{connection=\"consume\"}",
        ] {
            assert!(
                text.contains(&format!("hearken_{series} 0")),
                "{series} is missing from\n{text}"
            );
        }
        metrics.retried(&bus, &of);
        metrics.notified(&bus);
        metrics.reconnected("consume");
        let text = metrics.encode();
        assert!(text.contains("hearken_retried_total{bus=\"b\",group=\"g\"} 1"), "{text}");
        assert!(text.contains("hearken_reconnects_total{connection=\"consume\"} 1"), "{text}");
    }
}
