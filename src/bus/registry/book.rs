//! Book of a registry: the followed keys, their followers, and which keys are bound.

use super::follower::Follower;
use crate::{bus::KeyListener, domain::name::RegistrationKey};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{mpsc, watch};

/// Condition under which the events of a key arrive at this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyArrival {
    /// Events arrive always.
    Always,
    /// Events arrive once the bus has bound the key.
    OnceBound,
}

/// The followed keys and their followers.
pub(super) struct Book {
    keys: HashMap<RegistrationKey, KeyEntry>,
    /// Every listener once, by its address. The address is unique while the listener is held here.
    followers: HashMap<usize, FollowerEntry>,
    /// Gets each key that gets its first follower or loses its last.
    touched: Option<mpsc::UnboundedSender<RegistrationKey>>,
    arrival: KeyArrival,
    registrations: usize,
}

/// A followed key.
struct KeyEntry {
    followers: Vec<Arc<Follower>>,
    registrations: Vec<Arc<Establishment>>,
    bound: bool,
}

/// A listener that follows at least one key.
struct FollowerEntry {
    follower: Arc<Follower>,
    /// Number of its keys.
    keys: usize,
    /// Number of its keys that are not bound.
    unbound: usize,
    /// Whether one of its keys was bound and then interrupted.
    missed: bool,
}

/// Progress of a registration until all its keys are bound.
pub(super) struct Establishment {
    /// Number of its keys that are not bound. Changed only while the book is locked.
    unbound: AtomicUsize,
    established: watch::Sender<bool>,
}

impl Book {
    pub(super) fn new(
        arrival: KeyArrival,
        touched: Option<mpsc::UnboundedSender<RegistrationKey>>,
    ) -> Self {
        let (keys, followers) = (HashMap::new(), HashMap::new());
        Self { keys, followers, touched, arrival, registrations: 0 }
    }

    /// Number of registrations.
    pub(super) fn registrations(&self) -> usize {
        self.registrations
    }

    pub(super) fn is_followed(&self, key: &RegistrationKey) -> bool {
        self.keys.contains_key(key)
    }

    /// The followed keys.
    pub(super) fn keys(&self) -> impl Iterator<Item = &RegistrationKey> {
        self.keys.keys()
    }

    /// Every listener once.
    pub(super) fn followers(&self) -> Vec<Arc<Follower>> {
        self.followers.values().map(|entry| Arc::clone(&entry.follower)).collect()
    }

    /// The listeners of one key.
    pub(super) fn followers_of(
        &self,
        key: &RegistrationKey,
    ) -> impl Iterator<Item = &Arc<Follower>> {
        self.keys.get(key).into_iter().flat_map(|entry| &entry.followers)
    }

    /// Adds a registration of a listener under keys.
    pub(super) fn register(
        &mut self,
        keys: &BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
        establishment: &Arc<Establishment>,
    ) -> Arc<Follower> {
        self.registrations += 1;
        let follower = Follower::new(listener);
        let address = follower.address();
        let known = self.followers.get(&address);
        let follower =
            known.map_or_else(|| Arc::new(follower), |entry| Arc::clone(&entry.follower));
        for key in keys {
            let entry = self.keys.entry(key.clone()).or_insert_with(|| {
                // Fails when the bus is gone, and then no key is bound any more.
                let _ = self.touched.as_ref().map(|touched| touched.send(key.clone()));
                let bound = self.arrival == KeyArrival::Always;
                KeyEntry { followers: Vec::new(), registrations: Vec::new(), bound }
            });
            let waits = usize::from(!entry.bound);
            establishment.unbound.fetch_add(waits, Ordering::Relaxed);
            entry.registrations.push(Arc::clone(establishment));
            if entry.followers.iter().all(|other| !Arc::ptr_eq(other, &follower)) {
                entry.followers.push(Arc::clone(&follower));
                let entry = self.followers.entry(address).or_insert_with(|| {
                    let follower = Arc::clone(&follower);
                    FollowerEntry { follower, keys: 0, unbound: 0, missed: false }
                });
                entry.keys += 1;
                entry.unbound += waits;
            }
        }
        establishment.publish();
        follower
    }

    /// Ends a registration. Returns the listener when all the keys that it keeps are bound again
    /// after an interruption.
    pub(super) fn end(
        &mut self,
        keys: &BTreeSet<RegistrationKey>,
        follower: &Follower,
        establishment: &Arc<Establishment>,
    ) -> Option<Arc<Follower>> {
        self.registrations -= 1;
        let address = follower.address();
        for key in keys {
            let Some(entry) = self.keys.get_mut(key) else { continue };
            entry.registrations.retain(|other| !Arc::ptr_eq(other, establishment));
            let before = entry.followers.len();
            entry.followers.retain(|other| other.address() != address);
            if entry.followers.len() < before
                && let Some(left) = self.followers.get_mut(&address)
            {
                left.keys -= 1;
                left.unbound -= usize::from(!entry.bound);
            }
            if entry.followers.is_empty() {
                self.keys.remove(key);
                let _ = self.touched.as_ref().map(|touched| touched.send(key.clone()));
            }
        }
        let left = self.followers.get_mut(&address)?;
        if left.keys == 0 {
            left.follower.forget();
            self.followers.remove(&address);
            return None;
        }
        left.take_restored()
    }

    /// Notes that a key is bound. Returns the listeners whose keys are all bound again after an
    /// interruption.
    pub(super) fn bound(&mut self, key: &RegistrationKey) -> Vec<Arc<Follower>> {
        let Some(entry) = self.keys.get_mut(key).filter(|entry| !entry.bound) else {
            return Vec::new();
        };
        entry.bound = true;
        for establishment in &entry.registrations {
            establishment.unbound.fetch_sub(1, Ordering::Relaxed);
            establishment.publish();
        }
        let mut restored = Vec::new();
        for follower in &entry.followers {
            if let Some(follower) = self.followers.get_mut(&follower.address()) {
                follower.unbound -= 1;
                restored.extend(follower.take_restored());
            }
        }
        restored
    }

    /// Notes that no key is bound any more.
    pub(super) fn interrupted(&mut self) {
        for entry in self.keys.values_mut().filter(|entry| entry.bound) {
            entry.bound = false;
            for establishment in &entry.registrations {
                establishment.unbound.fetch_add(1, Ordering::Relaxed);
                establishment.publish();
            }
            for follower in &entry.followers {
                if let Some(follower) = self.followers.get_mut(&follower.address()) {
                    follower.unbound += 1;
                    follower.missed = true;
                }
            }
        }
    }
}

impl FollowerEntry {
    /// Returns the listener once, when all its keys are bound again after an interruption.
    fn take_restored(&mut self) -> Option<Arc<Follower>> {
        let restored = self.unbound == 0 && std::mem::take(&mut self.missed);
        restored.then(|| Arc::clone(&self.follower))
    }
}

impl Establishment {
    pub(super) fn new(established: watch::Sender<bool>) -> Self {
        Self { unbound: AtomicUsize::new(0), established }
    }

    fn publish(&self) {
        let established = self.unbound.load(Ordering::Relaxed) == 0;
        self.established.send_if_modified(|was| std::mem::replace(was, established) != established);
    }
}
