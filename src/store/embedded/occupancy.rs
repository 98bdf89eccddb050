//! Who consumes which local queue, and what of it is in hand.

use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Consumers and deliveries in hand, by queue. Clones share one register; it lives and ends with
/// the process, as consumers do.
#[derive(Clone, Default)]
pub struct Occupancy(Arc<Mutex<HashMap<String, Use>>>);

#[derive(Default)]
struct Use {
    consumers: u64,
    in_hand: HashSet<i64>,
}

impl Occupancy {
    /// How many consumers a queue has, and how many of its events they have in hand.
    #[must_use]
    pub fn of(&self, queue: &str) -> (u64, u64) {
        self.register()
            .get(queue)
            .map_or((0, 0), |used| (used.consumers, used.in_hand.len() as u64))
    }

    /// Counts a consumer until the answer is dropped.
    #[must_use]
    pub fn attend(&self, queue: &str) -> Attendance {
        self.register().entry(queue.to_owned()).or_default().consumers += 1;
        Attendance { occupancy: self.clone(), queue: queue.to_owned() }
    }

    /// Takes a delivery in hand until the answer is dropped. Nothing when somebody has it.
    #[must_use]
    pub fn claim(&self, queue: &str, seq: i64) -> Option<Claim> {
        let fresh = self.register().entry(queue.to_owned()).or_default().in_hand.insert(seq);
        fresh.then(|| Claim { occupancy: self.clone(), queue: queue.to_owned(), seq })
    }

    fn register(&self) -> MutexGuard<'_, HashMap<String, Use>> {
        self.0.lock()
    }

    fn change(&self, queue: &str, change: impl FnOnce(&mut Use)) {
        let mut register = self.register();
        if let Some(used) = register.get_mut(queue) {
            change(used);
            if used.consumers == 0 && used.in_hand.is_empty() {
                register.remove(queue);
            }
        }
    }
}

/// A consumer that counts.
pub struct Attendance {
    occupancy: Occupancy,
    queue: String,
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.occupancy.change(&self.queue, |used| used.consumers -= 1);
    }
}

/// A delivery in hand.
pub struct Claim {
    occupancy: Occupancy,
    queue: String,
    seq: i64,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.occupancy.change(&self.queue, |used| {
            used.in_hand.remove(&self.seq);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_is_in_one_hand_at_a_time_and_nothing_stays_behind() {
        let occupancy = Occupancy::default();
        let consumer = occupancy.attend("q");
        let claim = occupancy.claim("q", 1).unwrap();
        assert!(occupancy.claim("q", 1).is_none());
        assert!(occupancy.claim("other", 1).is_some());
        assert_eq!(occupancy.of("q"), (1, 1));
        drop(consumer);
        assert_eq!(occupancy.of("q"), (0, 1));
        drop(claim);
        assert!(occupancy.claim("q", 1).is_some());
        assert!(occupancy.register().is_empty());
    }
}
