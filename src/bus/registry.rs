//! The key listeners of this node on one bus, by key. Both buses keep theirs here.
//!
//! # How it is used
//! Dispatching calls the synchronous listeners inline ([`Registry::call_sync`]). What arrives from
//! elsewhere, and what the asynchronous ones get, waits in a bounded queue of each listener
//! ([`Registry::enqueue`]), so that none of them holds up another. A bus that has to bind keys
//! makes one with [`Registry::binding`], follows the keys it is told, and says what it has bound.

mod everywhere;
mod follower;

#[cfg(test)]
mod tests;

pub use everywhere::{Everywhere, Place};

use super::{KeyListener, Registration, event::Event};
use crate::{
    domain::{
        listener::Mode,
        name::{BusName, RegistrationKey},
    },
    metrics::Metrics,
};
use follower::Follower;
use futures_util::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};
use tokio::sync::{mpsc, watch};

/// Which listeners an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// All of them.
    All,
    /// Those that dispatch does not wait for: the others ran before.
    AsyncOnly,
}

/// Where the registry of a bus counts.
#[derive(Clone)]
pub struct Meter {
    /// The counters of this process.
    pub metrics: Arc<Metrics>,
    /// The bus.
    pub bus: BusName,
}

/// Who follows which key of one bus. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    book: Arc<Mutex<Book>>,
    meter: Meter,
}

struct Book {
    keys: HashMap<RegistrationKey, Entry>,
    /// Every listener once, by its address, which is its own as long as it is held here.
    followers: HashMap<usize, Held>,
    /// Hears of keys that got their first follower or lost their last.
    touched: Option<mpsc::UnboundedSender<RegistrationKey>>,
    /// Whether a key has to be bound before its events arrive.
    binds: bool,
    /// How many registrations there are.
    registrations: usize,
}

/// A key that somebody follows.
struct Entry {
    followers: Vec<Arc<Follower>>,
    registrations: Vec<Arc<Progress>>,
    bound: bool,
}

/// A listener that follows a key at least.
struct Held {
    follower: Arc<Follower>,
    keys: usize,
    /// How many of its keys are not bound.
    unbound: usize,
    /// Whether a key of it was bound, and then was not.
    missed: bool,
}

/// How far a registration is from being established.
struct Progress {
    /// How many of its keys are not bound. Changed only while the book is locked.
    unbound: AtomicUsize,
    established: watch::Sender<bool>,
}

/// Ends a registration when it is dropped.
struct End {
    registry: Registry,
    keys: BTreeSet<RegistrationKey>,
    progress: Arc<Progress>,
    follower: Arc<Follower>,
}

impl Registry {
    /// A registry of a bus that hears every event by itself: registrations are established at
    /// once.
    #[must_use]
    pub fn immediate(meter: Meter) -> Self {
        Self::new(meter, false, None)
    }

    /// A registry of a bus that binds keys, and the keys that got their first follower or lost
    /// their last, to be looked at with [`Registry::is_followed`].
    #[must_use]
    pub fn binding(meter: Meter) -> (Self, mpsc::UnboundedReceiver<RegistrationKey>) {
        let (sender, touched) = mpsc::unbounded_channel();
        (Self::new(meter, true, Some(sender)), touched)
    }

    fn new(
        meter: Meter,
        binds: bool,
        touched: Option<mpsc::UnboundedSender<RegistrationKey>>,
    ) -> Self {
        let (keys, followers) = (HashMap::new(), HashMap::new());
        let book = Book { keys, followers, touched, binds, registrations: 0 };
        Self { book: Arc::new(Mutex::new(book)), meter }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Registers a listener under keys, until the registration is dropped. Under each key a
    /// listener is there once or not at all: the first registration that ends takes it away.
    #[must_use]
    pub fn register(
        &self,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration {
        let (established, receiver) = watch::channel(false);
        let progress = Arc::new(Progress { unbound: AtomicUsize::new(0), established });
        let follower = {
            let mut book = self.book();
            book.registrations += 1;
            self.meter.metrics.registrations(&self.meter.bus, book.registrations);
            book.register(&keys, listener, &progress)
        };
        let end = End { registry: self.clone(), keys, progress, follower };
        Registration::new(receiver, Box::new(end))
    }

    /// Whether anybody follows a key.
    #[must_use]
    pub fn is_followed(&self, key: &RegistrationKey) -> bool {
        self.book().keys.contains_key(key)
    }

    /// Every key that somebody follows.
    #[must_use]
    pub fn keys(&self) -> Vec<RegistrationKey> {
        self.book().keys.keys().cloned().collect()
    }

    /// How many keys somebody follows.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.book().keys.len()
    }

    /// Says that events with a key arrive. A listener that may have missed some, and now has all
    /// its keys bound again, is told to resynchronise.
    pub fn bound(&self, key: &RegistrationKey) {
        let restored = self.book().bound(key);
        for follower in restored {
            follower.resynchronise();
        }
    }

    /// Says that so many keys are bound.
    pub fn bindings(&self, count: usize) {
        self.meter.metrics.key_bindings(&self.meter.bus, count);
    }

    /// Says that nothing arrives any more until keys are bound again.
    pub fn interrupted(&self) {
        self.book().interrupted();
    }

    /// Tells every listener that it may have missed something.
    pub fn resynchronise(&self) {
        let all: Vec<_> =
            self.book().followers.values().map(|held| Arc::clone(&held.follower)).collect();
        for follower in all {
            follower.resynchronise();
        }
    }

    /// Runs the synchronous listeners of these keys, all at once, and returns when each has run.
    /// What fails is logged; what takes longer than ten minutes is given up.
    pub async fn call_sync(&self, event: &Event, keys: &BTreeSet<RegistrationKey>) {
        if event.noop || keys.is_empty() {
            return;
        }
        let addressed = self.addressed(keys, |mode| mode == Mode::Sync);
        let calls = addressed.iter().map(|(follower, keys)| {
            self.meter.metrics.notified(&self.meter.bus);
            follower.call(event, keys)
        });
        join_all(calls).await;
    }

    /// Puts an event into the queue of each listener that it is for, once for each listener
    /// however many of its keys the event has.
    pub fn enqueue(&self, event: &Arc<Event>, keys: &BTreeSet<RegistrationKey>, which: Which) {
        if event.noop || keys.is_empty() {
            return;
        }
        let wanted = |mode| which == Which::All || mode == Mode::Async;
        for (follower, keys) in self.addressed(keys, wanted) {
            if follower.enqueue(Arc::clone(event), keys) {
                self.meter.metrics.notified(&self.meter.bus);
            } else {
                self.meter.metrics.notification_dropped(&self.meter.bus);
            }
        }
    }

    /// The listeners of these keys, each with those of the keys that it follows.
    fn addressed(
        &self,
        keys: &BTreeSet<RegistrationKey>,
        wanted: impl Fn(Mode) -> bool,
    ) -> Vec<(Arc<Follower>, BTreeSet<RegistrationKey>)> {
        let book = self.book();
        let mut places = HashMap::new();
        let mut addressed: Vec<(Arc<Follower>, BTreeSet<RegistrationKey>)> = Vec::new();
        for key in keys {
            for follower in book.keys.get(key).into_iter().flat_map(|entry| &entry.followers) {
                if !wanted(follower.mode) {
                    continue;
                }
                let place = *places.entry(follower.address()).or_insert_with(|| {
                    addressed.push((Arc::clone(follower), BTreeSet::new()));
                    addressed.len() - 1
                });
                addressed[place].1.insert(key.clone());
            }
        }
        addressed
    }
}

impl Book {
    fn register(
        &mut self,
        keys: &BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
        progress: &Arc<Progress>,
    ) -> Arc<Follower> {
        let follower = Follower::new(listener);
        let address = follower.address();
        let held = self.followers.get(&address);
        let follower = held.map_or_else(|| Arc::new(follower), |held| Arc::clone(&held.follower));
        for key in keys {
            let entry = self.keys.entry(key.clone()).or_insert_with(|| {
                // Fails when the bus is gone, and then nothing is bound any more.
                let _ = self.touched.as_ref().map(|touched| touched.send(key.clone()));
                Entry { followers: Vec::new(), registrations: Vec::new(), bound: !self.binds }
            });
            let waits = usize::from(!entry.bound);
            progress.unbound.fetch_add(waits, Ordering::Relaxed);
            entry.registrations.push(Arc::clone(progress));
            if entry.followers.iter().all(|other| !Arc::ptr_eq(other, &follower)) {
                entry.followers.push(Arc::clone(&follower));
                let held = self.followers.entry(address).or_insert_with(|| {
                    let follower = Arc::clone(&follower);
                    Held { follower, keys: 0, unbound: 0, missed: false }
                });
                held.keys += 1;
                held.unbound += waits;
            }
        }
        progress.tell();
        follower
    }

    /// Takes a listener away from keys. Returns it when that leaves it with bound keys alone after
    /// an interruption.
    fn end(&mut self, end: &End) -> Option<Arc<Follower>> {
        let address = end.follower.address();
        for key in &end.keys {
            let Some(entry) = self.keys.get_mut(key) else { continue };
            entry.registrations.retain(|other| !Arc::ptr_eq(other, &end.progress));
            let before = entry.followers.len();
            entry.followers.retain(|other| other.address() != address);
            if entry.followers.len() < before
                && let Some(held) = self.followers.get_mut(&address)
            {
                held.keys -= 1;
                held.unbound -= usize::from(!entry.bound);
            }
            if entry.followers.is_empty() {
                self.keys.remove(key);
                let _ = self.touched.as_ref().map(|touched| touched.send(key.clone()));
            }
        }
        let held = self.followers.get_mut(&address)?;
        if held.keys == 0 {
            held.follower.forget();
            self.followers.remove(&address);
            return None;
        }
        held.restored()
    }

    fn bound(&mut self, key: &RegistrationKey) -> Vec<Arc<Follower>> {
        let Some(entry) = self.keys.get_mut(key).filter(|entry| !entry.bound) else {
            return Vec::new();
        };
        entry.bound = true;
        for progress in &entry.registrations {
            progress.unbound.fetch_sub(1, Ordering::Relaxed);
            progress.tell();
        }
        let mut restored = Vec::new();
        for follower in &entry.followers {
            if let Some(held) = self.followers.get_mut(&follower.address()) {
                held.unbound -= 1;
                restored.extend(held.restored());
            }
        }
        restored
    }

    fn interrupted(&mut self) {
        for entry in self.keys.values_mut().filter(|entry| entry.bound) {
            entry.bound = false;
            for progress in &entry.registrations {
                progress.unbound.fetch_add(1, Ordering::Relaxed);
                progress.tell();
            }
            for follower in &entry.followers {
                if let Some(held) = self.followers.get_mut(&follower.address()) {
                    held.unbound += 1;
                    held.missed = true;
                }
            }
        }
    }
}

impl Held {
    /// The listener, once, when nothing is missing any more after something was.
    fn restored(&mut self) -> Option<Arc<Follower>> {
        let restored = self.unbound == 0 && std::mem::take(&mut self.missed);
        restored.then(|| Arc::clone(&self.follower))
    }
}

impl Progress {
    fn tell(&self) {
        let established = self.unbound.load(Ordering::Relaxed) == 0;
        self.established.send_if_modified(|was| std::mem::replace(was, established) != established);
    }
}

impl Drop for End {
    fn drop(&mut self) {
        let restored = {
            let mut book = self.registry.book();
            book.registrations -= 1;
            let Meter { metrics, bus } = &self.registry.meter;
            metrics.registrations(bus, book.registrations);
            book.end(self)
        };
        if let Some(follower) = restored {
            follower.resynchronise();
        }
    }
}
