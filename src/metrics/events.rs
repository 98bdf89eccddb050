//! What becomes of events that do not simply run: retries, dead letters, notifications.

use super::{Bus, Group, Metrics};
use crate::domain::name::{BusName, GroupName};
use parking_lot::Mutex;
use prometheus_client::{
    encoding::EncodeLabelSet,
    metrics::{counter::Counter, family::Family, gauge::Gauge},
    registry::Registry,
};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};

/// What connections to the broker are for, where events travel.
pub const CONNECTIONS: [&str; 2] = ["publish", "consume"];

/// How old the numbers of dead letters may be that a scrape sees.
const FRESH: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Link {
    connection: &'static str,
}

/// The counters, as a part of [`Metrics`].
#[derive(Default)]
pub(super) struct EventCounters {
    retried: Family<Group, Counter>,
    dead_lettered: Family<Group, Counter>,
    dead_letters: Family<Group, Gauge>,
    /// When dead letters were counted last, and for whom there were some then or earlier.
    counted: Mutex<(Option<Instant>, HashSet<Group>)>,
    dispatch_failures: Family<Bus, Counter>,
    redispatched: Family<Bus, Counter>,
    registrations: Family<Bus, Gauge>,
    key_bindings: Family<Bus, Gauge>,
    notified: Family<Bus, Counter>,
    dropped: Family<Bus, Counter>,
    reconnects: Family<Link, Counter>,
}

impl EventCounters {
    pub(super) fn register(&self, r: &mut Registry) {
        let group: [(_, _, &Family<Group, Counter>); 2] = [
            ("retried", "Executions on this node of an event that failed before", &self.retried),
            ("dead_lettered", "Events that a group gave up on, by this node", &self.dead_lettered),
        ];
        for (name, help, family) in group {
            r.register(name, help, family.clone());
        }
        let help = "Dead letters in the database, as of a few seconds ago";
        r.register("dead_letters", help, self.dead_letters.clone());
        let bus: [(_, _, &Family<Bus, Counter>); 4] = [
            (
                "dispatch_failures",
                "Events that this node could not publish and kept",
                &self.dispatch_failures,
            ),
            (
                "redispatched",
                "Events that could not be published before, and were by this node",
                &self.redispatched,
            ),
            ("notifications", "Notifications given to key listeners of this node", &self.notified),
            (
                "notifications_dropped",
                "Notifications that a key listener of this node was too slow for",
                &self.dropped,
            ),
        ];
        for (name, help, family) in bus {
            r.register(name, help, family.clone());
        }
        let help = "Registrations of key listeners on this node";
        r.register("registrations", help, self.registrations.clone());
        let help = "Keys that this node's queue is bound with";
        r.register("key_bindings", help, self.key_bindings.clone());
        let help = "Connections to the broker that were lost and came back";
        r.register("reconnects", help, self.reconnects.clone());
    }

    pub(super) fn start_at_zero(&self) {
        for connection in CONNECTIONS {
            drop(self.reconnects.get_or_create(&Link { connection }));
        }
    }

    pub(super) fn bus(&self, label: &Bus) {
        for family in [&self.dispatch_failures, &self.redispatched, &self.notified, &self.dropped] {
            drop(family.get_or_create(label));
        }
        for family in [&self.registrations, &self.key_bindings] {
            drop(family.get_or_create(label));
        }
        for group in
            [crate::domain::dead_letter::DISPATCH_FAILURE, crate::domain::dead_letter::PARKED]
        {
            let label = Group { bus: label.bus.clone(), group: group.to_owned() };
            drop(self.dead_letters.get_or_create(&label));
            drop(self.dead_lettered.get_or_create(&label));
        }
    }

    pub(super) fn listener(&self, label: &Group) {
        drop(self.retried.get_or_create(label));
        drop(self.dead_lettered.get_or_create(label));
        drop(self.dead_letters.get_or_create(label));
    }
}

fn group(bus: &BusName, group: &GroupName) -> Group {
    Group { bus: bus.to_string(), group: group.to_string() }
}

fn on(bus: &BusName) -> Bus {
    Bus { bus: bus.to_string() }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Metrics {
    /// An execution began of an event that failed before.
    pub fn retried(&self, bus: &BusName, of: &GroupName) {
        self.events.retried.get_or_create(&group(bus, of)).inc();
    }

    /// A dead letter was kept: a group gave up on an event, or it was parked.
    pub fn dead_lettered(&self, bus: &BusName, of: &GroupName) {
        self.events.dead_lettered.get_or_create(&group(bus, of)).inc();
    }

    /// An event could not be published and was kept.
    pub fn dispatch_failed(&self, bus: &BusName) {
        self.events.dispatch_failures.get_or_create(&on(bus)).inc();
    }

    /// An event that could not be published was published after all.
    pub fn redispatched(&self, bus: &BusName) {
        self.events.redispatched.get_or_create(&on(bus)).inc();
    }

    /// So many registrations of key listeners are held on this node.
    pub fn registrations(&self, bus: &BusName, count: usize) {
        self.events.registrations.get_or_create(&on(bus)).set(number(count as u64));
    }

    /// This node's queue is bound with so many keys.
    pub fn key_bindings(&self, bus: &BusName, count: usize) {
        self.events.key_bindings.get_or_create(&on(bus)).set(number(count as u64));
    }

    /// A key listener was given a notification.
    pub fn notified(&self, bus: &BusName) {
        self.events.notified.get_or_create(&on(bus)).inc();
    }

    /// A notification was dropped, because its key listener is too slow.
    pub fn notification_dropped(&self, bus: &BusName) {
        self.events.dropped.get_or_create(&on(bus)).inc();
    }

    /// A connection that was lost is back: one of [`CONNECTIONS`].
    pub fn reconnected(&self, connection: &'static str) {
        self.events.reconnects.get_or_create(&Link { connection }).inc();
    }

    /// Whether dead letters should be counted anew. Of callers at the same time one is told so.
    pub fn wants_dead_letters(&self) -> bool {
        let mut counted = self.events.counted.lock();
        if counted.0.is_some_and(|at| at.elapsed() < FRESH) {
            return false;
        }
        counted.0 = Some(Instant::now());
        true
    }

    /// How many dead letters there are, of every group that has some.
    pub fn dead_letters<'a>(
        &self,
        counts: impl Iterator<Item = (&'a BusName, &'a GroupName, u64)>,
    ) {
        let mut counted = self.events.counted.lock();
        let mut gone = counted.1.clone();
        for (bus, of, count) in counts {
            let label = group(bus, of);
            self.events.dead_letters.get_or_create(&label).set(number(count));
            gone.remove(&label);
            counted.1.insert(label);
        }
        for label in gone {
            self.events.dead_letters.get_or_create(&label).set(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_whose_dead_letters_are_gone_shows_zero() {
        let metrics = Metrics::default();
        let (bus, of) = (BusName::parse("b").unwrap(), GroupName::parse("g").unwrap());
        metrics.dead_letters([(&bus, &of, 3)].into_iter());
        let series = "hearken_dead_letters{bus=\"b\",group=\"g\"}";
        assert!(metrics.encode().contains(&format!("{series} 3")));
        metrics.dead_letters(std::iter::empty());
        assert!(metrics.encode().contains(&format!("{series} 0")));
    }

    #[test]
    fn dead_letters_are_counted_once_however_often_they_are_scraped() {
        let metrics = Metrics::default();
        assert!(metrics.wants_dead_letters());
        assert!(!metrics.wants_dead_letters());
    }

    #[test]
    fn every_series_of_a_bus_and_a_group_is_there_before_anything_happens() {
        let metrics = Metrics::default();
        let (bus, of) = (BusName::parse("b").unwrap(), GroupName::parse("g").unwrap());
        metrics.bus(&bus);
        metrics.listener(&bus, &of);
        let text = metrics.encode();
        for series in [
            "retried_total{bus=\"b\",group=\"g\"}",
            "dead_lettered_total{bus=\"b\",group=\"g\"}",
            "dead_letters{bus=\"b\",group=\"g\"}",
            "dead_letters{bus=\"b\",group=\"parked\"}",
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
