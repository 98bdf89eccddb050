//! Which keys of a node's queue to bind and to unbind. Pure: `binder` does what is decided here.
//!
//! A key has at most one operation in flight. A key that lost its last follower stays bound for a
//! while, because a client that comes back would only have the key bound again.

use crate::domain::name::RegistrationKey;
use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

/// How long a key without followers stays bound.
const LINGER: Duration = Duration::from_secs(30);

/// A request to the broker for one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BindingOperation {
    /// Binds the key.
    Bind,
    /// Binds a bound key, in case the exchange was declared again and lost its bindings.
    BindAgain,
    /// Unbinds the key.
    Unbind,
}

/// What a key needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeyDecision {
    /// A request to the broker, which counts as in flight until [`KeyBindings::done`].
    Request(BindingOperation),
    /// Nothing: the key is followed, and its events arrive.
    Arrives,
    /// Nothing for now.
    Wait,
}

/// Whether a key changed while its operation was in flight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Meanwhile {
    Unchanged,
    /// The key is looked at again when the operation is done.
    Touched,
}

/// End of the time for which a key without followers stays bound.
struct LingerEnd {
    at: Instant,
    key: RegistrationKey,
}

/// The bindings of one queue.
pub(super) struct KeyBindings {
    /// Whether the key that every notification has is bound. Single keys are not bound then.
    every: bool,
    /// Keys whose binding the broker confirmed, and that are not being unbound.
    bound: HashSet<RegistrationKey>,
    /// Bound keys that are to be bound again.
    stale: HashSet<RegistrationKey>,
    /// Number of [`BindingOperation::BindAgain`] in flight.
    repeating: usize,
    in_flight: HashMap<RegistrationKey, Meanwhile>,
    /// Keys to decide about.
    undecided: VecDeque<RegistrationKey>,
    /// Bound keys without followers, with the end of their time.
    lingering: HashMap<RegistrationKey, Instant>,
    /// The ends in the order of time. Includes keys that were followed again since.
    ends: VecDeque<LingerEnd>,
}

impl KeyBindings {
    /// A new queue, without bindings, whose node follows these keys.
    pub(super) fn new(followed: Vec<RegistrationKey>) -> Self {
        Self {
            every: false,
            bound: HashSet::new(),
            stale: HashSet::new(),
            repeating: 0,
            in_flight: HashMap::new(),
            undecided: followed.into(),
            lingering: HashMap::new(),
            ends: VecDeque::new(),
        }
    }

    /// Notes that the key that every notification has is bound.
    pub(super) fn every_bound(&mut self) {
        self.every = true;
    }

    /// Whether the key that every notification has is bound.
    pub(super) fn is_every_bound(&self) -> bool {
        self.every
    }

    /// Number of keys that are bound one by one.
    pub(super) fn bound(&self) -> usize {
        self.bound.len()
    }

    /// Number of keys that are not bound as they should be.
    pub(super) fn behind(&self) -> usize {
        let repeated = self.stale.len() + self.repeating;
        (self.undecided.len() + self.in_flight.len()).saturating_sub(repeated)
    }

    /// Whether there is a key to decide about.
    pub(super) fn has_undecided(&self) -> bool {
        !self.undecided.is_empty()
    }

    /// Adds keys to decide about.
    pub(super) fn touch(&mut self, keys: impl IntoIterator<Item = RegistrationKey>) {
        self.undecided.extend(keys);
    }

    /// The next key to decide about.
    pub(super) fn next(&mut self) -> Option<RegistrationKey> {
        self.undecided.pop_front()
    }

    /// Decides about a key.
    pub(super) fn decide(
        &mut self,
        key: &RegistrationKey,
        followed: bool,
        now: Instant,
    ) -> KeyDecision {
        if let Some(meanwhile) = self.in_flight.get_mut(key) {
            *meanwhile = Meanwhile::Touched;
            return KeyDecision::Wait;
        }
        let stale = self.stale.remove(key);
        match (followed, self.bound.contains(key)) {
            (true, false) if !self.every => self.request(key, BindingOperation::Bind),
            (true, true) if stale && !self.every => self.request(key, BindingOperation::BindAgain),
            (true, _) => {
                self.lingering.remove(key);
                KeyDecision::Arrives
            }
            (false, true) => self.linger(key, now),
            (false, false) => KeyDecision::Wait,
        }
    }

    /// Unbinds a key without followers when its time is over.
    fn linger(&mut self, key: &RegistrationKey, now: Instant) -> KeyDecision {
        match self.lingering.get(key) {
            Some(end) if *end <= now => {
                self.lingering.remove(key);
                self.bound.remove(key);
                self.request(key, BindingOperation::Unbind)
            }
            Some(_) => KeyDecision::Wait,
            None => {
                let at = now + LINGER;
                self.lingering.insert(key.clone(), at);
                self.ends.push_back(LingerEnd { at, key: key.clone() });
                KeyDecision::Wait
            }
        }
    }

    fn request(&mut self, key: &RegistrationKey, operation: BindingOperation) -> KeyDecision {
        self.repeating += usize::from(operation == BindingOperation::BindAgain);
        self.in_flight.insert(key.clone(), Meanwhile::Unchanged);
        KeyDecision::Request(operation)
    }

    /// Notes that the broker did what was requested.
    pub(super) fn done(&mut self, key: RegistrationKey, operation: BindingOperation) {
        match operation {
            BindingOperation::Bind => drop(self.bound.insert(key.clone())),
            BindingOperation::BindAgain => self.repeating -= 1,
            BindingOperation::Unbind => {}
        }
        if self.in_flight.remove(&key) == Some(Meanwhile::Touched) {
            self.undecided.push_back(key);
        }
    }

    /// Has every followed key bound again.
    pub(super) fn bind_again(&mut self, followed: Vec<RegistrationKey>) {
        self.stale.extend(followed.iter().cloned());
        self.undecided.extend(followed);
    }

    /// When the next key without followers is to be unbound.
    pub(super) fn next_end(&self) -> Option<Instant> {
        self.ends.front().map(|end| end.at)
    }

    /// Decides again about the keys without followers whose time is over.
    pub(super) fn expire(&mut self, now: Instant) {
        while let Some(LingerEnd { at, key }) = self.ends.pop_front_if(|end| end.at <= now) {
            if self.lingering.get(&key) == Some(&at) {
                self.undecided.push_back(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use BindingOperation::{Bind, BindAgain, Unbind};

    fn key() -> RegistrationKey {
        RegistrationKey::parse("k").unwrap()
    }

    fn bound(now: Instant) -> KeyBindings {
        let mut bindings = KeyBindings::new(vec![key()]);
        let key = bindings.next().unwrap();
        assert_eq!(bindings.decide(&key, true, now), KeyDecision::Request(Bind));
        assert_eq!((bindings.behind(), bindings.bound()), (1, 0));
        bindings.done(key, Bind);
        assert_eq!((bindings.behind(), bindings.bound()), (0, 1));
        bindings
    }

    #[test]
    fn a_key_without_followers_is_unbound_only_when_its_time_is_over() {
        let now = Clock::system().monotonic();
        let mut bindings = bound(now);
        assert_eq!(bindings.decide(&key(), false, now), KeyDecision::Wait);
        let end = bindings.next_end().unwrap();
        bindings.expire(now);
        assert!(!bindings.has_undecided());
        bindings.expire(end);
        let key = bindings.next().unwrap();
        assert_eq!(bindings.decide(&key, false, end), KeyDecision::Request(Unbind));
        assert_eq!(bindings.bound(), 0);
    }

    #[test]
    fn a_key_that_is_followed_again_stays_bound() {
        let now = Clock::system().monotonic();
        let mut bindings = bound(now);
        bindings.decide(&key(), false, now);
        assert_eq!(bindings.decide(&key(), true, now), KeyDecision::Arrives);
        bindings.expire(now + LINGER);
        assert!(!bindings.has_undecided());
    }

    #[test]
    fn a_key_that_changes_during_its_operation_is_decided_again_afterwards() {
        let now = Clock::system().monotonic();
        let mut bindings = KeyBindings::new(Vec::new());
        assert_eq!(bindings.decide(&key(), true, now), KeyDecision::Request(Bind));
        assert_eq!(bindings.decide(&key(), false, now), KeyDecision::Wait);
        bindings.done(key(), Bind);
        assert_eq!(bindings.next(), Some(key()));
    }

    #[test]
    fn binding_a_bound_key_again_does_not_count_as_behind() {
        let now = Clock::system().monotonic();
        let mut bindings = bound(now);
        bindings.bind_again(vec![key()]);
        assert_eq!(bindings.behind(), 0);
        let key = bindings.next().unwrap();
        assert_eq!(bindings.decide(&key, true, now), KeyDecision::Request(BindAgain));
        assert_eq!(bindings.behind(), 0);
        bindings.done(key, BindAgain);
        assert_eq!((bindings.behind(), bindings.bound()), (0, 1));
    }
}
