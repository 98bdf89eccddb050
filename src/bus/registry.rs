//! The key listeners of this node on one bus, by key. Both buses keep their key listeners here.
//!
//! # How a bus uses it
//! Dispatching calls the synchronous listeners ([`Registry::call_sync`]). Events from other nodes,
//! and all events of asynchronous listeners, wait in a bounded queue of each listener
//! ([`Registry::enqueue`]), so that no listener delays another. A bus that binds keys makes a
//! registry with [`Registry::binding`], binds the keys that the registry reports, and tells the
//! registry what it has bound.

mod book;
mod follower;
mod inline;

#[cfg(test)]
mod tests;

pub use inline::{InlineListeners, RegisteredInline};

use super::{KeyListener, Registration, event::Event};
use crate::{
    domain::{
        listener::Mode,
        name::{BusName, RegistrationKey},
    },
    metrics::Metrics,
};
use book::{Book, Establishment, KeyArrival};
use follower::Follower;
use futures_util::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
};
use tokio::sync::{mpsc, watch};

/// The key listeners that an event is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every listener of the event's keys.
    All,
    /// The asynchronous listeners. The synchronous listeners ran when the event was dispatched.
    AsyncOnly,
}

/// The counters of a registry.
#[derive(Clone)]
pub struct Meter {
    /// The counters of this process.
    pub metrics: Arc<Metrics>,
    /// The bus.
    pub bus: BusName,
}

/// The key listeners of one bus, by key. Cheap to clone.
#[derive(Clone)]
pub struct Registry {
    book: Arc<Mutex<Book>>,
    meter: Meter,
}

/// A listener that an event is for, with the event's keys that it follows.
struct Addressee {
    follower: Arc<Follower>,
    keys: BTreeSet<RegistrationKey>,
}

/// Ends a registration when it is dropped.
struct RegistrationEnd {
    registry: Registry,
    keys: BTreeSet<RegistrationKey>,
    establishment: Arc<Establishment>,
    follower: Arc<Follower>,
}

impl Registry {
    /// Registry of a bus that sees every event by itself. Registrations are established at once.
    #[must_use]
    pub fn immediate(meter: Meter) -> Self {
        Self::new(meter, Book::new(KeyArrival::Always, None))
    }

    /// Registry of a bus that binds keys. The receiver gets each key that gets its first follower
    /// or loses its last; [`Registry::is_followed`] tells which.
    #[must_use]
    pub fn binding(meter: Meter) -> (Self, mpsc::UnboundedReceiver<RegistrationKey>) {
        let (sender, touched) = mpsc::unbounded_channel();
        (Self::new(meter, Book::new(KeyArrival::OnceBound, Some(sender))), touched)
    }

    fn new(meter: Meter, book: Book) -> Self {
        Self { book: Arc::new(Mutex::new(book)), meter }
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock()
    }

    /// Registers a listener under keys, until the registration is dropped. A listener that is
    /// registered twice under a key is called once, and leaves the key with the first of its
    /// registrations that ends.
    #[must_use]
    pub fn register(
        &self,
        keys: BTreeSet<RegistrationKey>,
        listener: Arc<dyn KeyListener>,
    ) -> Registration {
        let (established, receiver) = watch::channel(false);
        let establishment = Arc::new(Establishment::new(established));
        let follower = {
            let mut book = self.book();
            let follower = book.register(&keys, listener, &establishment);
            self.meter.metrics.registrations(&self.meter.bus, book.registrations());
            follower
        };
        let end = RegistrationEnd { registry: self.clone(), keys, establishment, follower };
        Registration::new(receiver, Box::new(end))
    }

    /// Whether a listener follows the key.
    #[must_use]
    pub fn is_followed(&self, key: &RegistrationKey) -> bool {
        self.book().is_followed(key)
    }

    /// Every followed key.
    #[must_use]
    pub fn keys(&self) -> Vec<RegistrationKey> {
        self.book().keys().cloned().collect()
    }

    /// Number of followed keys.
    #[must_use]
    pub fn followed(&self) -> usize {
        self.book().keys().count()
    }

    /// Notes that a key is bound, so that its events arrive. A listener that may have missed
    /// events, and whose keys are all bound again, is told to resynchronise.
    pub fn bound(&self, key: &RegistrationKey) {
        let restored = self.book().bound(key);
        for follower in restored {
            follower.resynchronise();
        }
    }

    /// Notes the number of bound keys.
    pub fn bindings(&self, count: usize) {
        self.meter.metrics.key_bindings(&self.meter.bus, count);
    }

    /// Notes that no events arrive until keys are bound again.
    pub fn interrupted(&self) {
        self.book().interrupted();
    }

    /// Tells every listener that it may have missed events.
    pub fn resynchronise(&self) {
        let followers = self.book().followers();
        for follower in followers {
            follower.resynchronise();
        }
    }

    /// Runs the synchronous listeners of these keys, all at once, and returns when each has run. A
    /// failure is logged. An execution that takes longer than ten minutes is given up.
    pub async fn call_sync(&self, event: &Event, keys: &BTreeSet<RegistrationKey>) {
        if event.noop || keys.is_empty() {
            return;
        }
        let addressed = self.addressed(keys, |mode| mode == Mode::Sync);
        let calls = addressed.iter().map(|Addressee { follower, keys }| {
            self.meter.metrics.notified(&self.meter.bus);
            follower.call(event, keys)
        });
        join_all(calls).await;
    }

    /// Puts an event into the queue of each listener that it is for. A listener that follows
    /// several of the event's keys gets the event once.
    pub fn enqueue(
        &self,
        event: &Arc<Event>,
        keys: &BTreeSet<RegistrationKey>,
        audience: Audience,
    ) {
        if event.noop || keys.is_empty() {
            return;
        }
        let wanted = |mode| audience == Audience::All || mode == Mode::Async;
        for Addressee { follower, keys } in self.addressed(keys, wanted) {
            if follower.enqueue(Arc::clone(event), keys) {
                self.meter.metrics.notified(&self.meter.bus);
            } else {
                self.meter.metrics.notification_dropped(&self.meter.bus);
            }
        }
    }

    /// The listeners of these keys, each with the keys that it follows.
    fn addressed(
        &self,
        keys: &BTreeSet<RegistrationKey>,
        wanted: impl Fn(Mode) -> bool,
    ) -> Vec<Addressee> {
        let book = self.book();
        let mut positions = HashMap::new();
        let mut addressed: Vec<Addressee> = Vec::new();
        for key in keys {
            for follower in book.followers_of(key).filter(|follower| wanted(follower.mode)) {
                let position = *positions.entry(follower.address()).or_insert_with(|| {
                    let follower = Arc::clone(follower);
                    addressed.push(Addressee { follower, keys: BTreeSet::new() });
                    addressed.len() - 1
                });
                addressed[position].keys.insert(key.clone());
            }
        }
        addressed
    }
}

impl Drop for RegistrationEnd {
    fn drop(&mut self) {
        let restored = {
            let mut book = self.registry.book();
            let restored = book.end(&self.keys, &self.follower, &self.establishment);
            let Meter { metrics, bus } = &self.registry.meter;
            metrics.registrations(bus, book.registrations());
            restored
        };
        if let Some(follower) = restored {
            follower.resynchronise();
        }
    }
}
