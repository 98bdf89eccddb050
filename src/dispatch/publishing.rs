//! Outages of publishing, as this node sees them.

use crate::{clock::Clock, domain::name::BusName, outage::Outage};
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashSet};
use tokio::sync::Notify;
use uuid::Uuid;

/// The buses that take no events, and the kept events that were published.
pub(super) struct Publishing {
    clock: Clock,
    outages: Mutex<BTreeMap<BusName, Outage>>,
    /// Entries that were published and could not be removed. They are not published again while the
    /// database reads and does not write.
    published: Mutex<HashSet<Uuid>>,
    /// Notified when an event was kept.
    pub(super) kept: Notify,
    /// Notified when a bus takes events again.
    pub(super) recovered: Notify,
}

impl Publishing {
    pub(super) fn new(clock: &Clock) -> Self {
        Self {
            clock: clock.clone(),
            outages: Mutex::default(),
            published: Mutex::default(),
            kept: Notify::new(),
            recovered: Notify::new(),
        }
    }

    /// Notes that a bus did not take an event, and that the event was kept.
    pub(super) fn failed(&self, bus: &BusName, cause: &str) {
        let begun = || {
            let failing = format!(
                "events for bus {bus} cannot be published; they are kept in the database, and hearken publishes them once the bus takes them"
            );
            Outage::new(&self.clock, failing, format!("bus {bus} takes events again"))
        };
        self.outages.lock().entry(bus.clone()).or_insert_with(begun).failed(cause);
        self.kept.notify_one();
    }

    /// Notes that a bus took an event. Returns whether this ended an outage.
    pub(super) fn succeeded(&self, bus: &BusName) -> bool {
        let outage = self.outages.lock().remove(bus);
        outage.map(|mut outage| outage.over()).is_some()
    }

    /// Notes that an entry was published.
    pub(super) fn note_published(&self, id: Uuid) {
        self.published.lock().insert(id);
    }

    /// Whether an entry was published and could not be removed yet.
    pub(super) fn was_published(&self, id: Uuid) -> bool {
        self.published.lock().contains(&id)
    }

    /// Forgets an entry that was removed.
    pub(super) fn forget(&self, id: Uuid) {
        self.published.lock().remove(&id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_of_a_bus_ends_with_the_first_event_that_the_bus_takes() {
        let bus = BusName::parse("mailboxEvent").unwrap();
        let publishing = Publishing::new(&Clock::system());
        assert!(!publishing.succeeded(&bus));
        publishing.failed(&bus, "refused");
        publishing.failed(&bus, "silent");
        assert!(publishing.succeeded(&bus));
        assert!(!publishing.succeeded(&bus));
    }
}
