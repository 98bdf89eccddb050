//! Consumers of the local queues, and the deliveries that they run.

use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Register of consumers and claimed deliveries, by queue. Clones share one register. It is kept in
/// memory only, because consumers end with the process.
#[derive(Clone, Default)]
pub struct Occupancy(Arc<Mutex<HashMap<String, Occupants>>>);

#[derive(Default)]
struct Occupants {
    consumers: u64,
    claimed: HashSet<i64>,
}

/// Use of a queue at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueueUse {
    /// Consumers of the queue.
    pub consumers: u64,
    /// Deliveries of the queue that a consumer has claimed.
    pub claimed: u64,
}

impl Occupancy {
    /// Use of a queue now.
    #[must_use]
    pub fn usage(&self, queue: &str) -> QueueUse {
        self.register().get(queue).map_or_else(QueueUse::default, |occupants| QueueUse {
            consumers: occupants.consumers,
            claimed: occupants.claimed.len() as u64,
        })
    }

    /// Registers a consumer; it counts until the returned guard is dropped.
    #[must_use]
    pub fn attend(&self, queue: &str) -> Attendance {
        self.register().entry(queue.to_owned()).or_default().consumers += 1;
        Attendance { occupancy: self.clone(), queue: queue.to_owned() }
    }

    /// Claims a delivery until the returned guard is dropped. `None` when another consumer has
    /// claimed it.
    #[must_use]
    pub fn claim(&self, queue: &str, seq: i64) -> Option<Claim> {
        let fresh = self.register().entry(queue.to_owned()).or_default().claimed.insert(seq);
        fresh.then(|| Claim { occupancy: self.clone(), queue: queue.to_owned(), seq })
    }

    fn register(&self) -> MutexGuard<'_, HashMap<String, Occupants>> {
        self.0.lock()
    }

    fn change(&self, queue: &str, change: impl FnOnce(&mut Occupants)) {
        let mut register = self.register();
        if let Some(occupants) = register.get_mut(queue) {
            change(occupants);
            if occupants.consumers == 0 && occupants.claimed.is_empty() {
                register.remove(queue);
            }
        }
    }
}

/// Guard of a registered consumer.
pub struct Attendance {
    occupancy: Occupancy,
    queue: String,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.occupancy.change(&self.queue, |occupants| occupants.consumers -= 1);
    }
}

/// Guard of a claimed delivery.
pub struct Claim {
    occupancy: Occupancy,
    queue: String,
    seq: i64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.occupancy.change(&self.queue, |occupants| {
            occupants.claimed.remove(&self.seq);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_has_one_claim_at_a_time_and_the_register_forgets_unused_queues() {
        let occupancy = Occupancy::default();
        let consumer = occupancy.attend("q");
        let claim = occupancy.claim("q", 1).unwrap();
        assert!(occupancy.claim("q", 1).is_none());
        assert!(occupancy.claim("other", 1).is_some());
        assert_eq!(occupancy.usage("q"), QueueUse { consumers: 1, claimed: 1 });
        drop(consumer);
        assert_eq!(occupancy.usage("q"), QueueUse { consumers: 0, claimed: 1 });
        drop(claim);
        assert!(occupancy.claim("q", 1).is_some());
        assert!(occupancy.register().is_empty());
    }
}
