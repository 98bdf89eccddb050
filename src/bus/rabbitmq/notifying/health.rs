//! Whether notifications of a bus arrive on this node.

use crate::{bus::NotificationFault, clock::Clock};
use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// Age of the last probe that came back, above which notifications count as broken.
const PROBE_OLD: Duration = Duration::from_mins(1);

/// How long keys may wait for their binding before notifications count as broken.
const UNBOUND_LONG: Duration = Duration::from_secs(10);

/// Facts about the notifications of one bus.
pub(super) struct NotificationHealth {
    clock: Clock,
    facts: Mutex<Facts>,
}

#[derive(Default)]
struct Facts {
    /// Why this node does not listen.
    interruption: Option<String>,
    /// When the last probe came back.
    proven_at: Option<Instant>,
    /// Why the last probe was not published.
    probe_failure: Option<String>,
    unbound: Option<Unbound>,
}

/// Keys that are to be bound or unbound.
#[derive(Clone, Copy)]
struct Unbound {
    count: usize,
    since: Instant,
}

impl NotificationHealth {
    /// Health of a bus that this node does not listen to yet.
    pub(super) fn new(clock: Clock) -> Self {
        let interruption = Some("this node does not listen to it yet".to_owned());
        Self { clock, facts: Facts { interruption, ..Facts::default() }.into() }
    }

    /// Notes that this node listens.
    pub(super) fn listening(&self) {
        self.facts.lock().interruption = None;
    }

    /// Notes that this node does not listen any more.
    pub(super) fn interrupted(&self, cause: String) {
        *self.facts.lock() = Facts { interruption: Some(cause), ..Facts::default() };
    }

    /// Notes that a probe came back.
    pub(super) fn proven(&self) {
        self.facts.lock().proven_at = Some(self.clock.monotonic());
    }

    /// Notes why a probe could not be published, or that it was published.
    pub(super) fn probed(&self, failure: Option<String>) {
        self.facts.lock().probe_failure = failure;
    }

    /// Notes how many keys are not bound as they should be.
    pub(super) fn unbound(&self, count: usize) {
        let mut facts = self.facts.lock();
        let since = facts.unbound.map_or_else(|| self.clock.monotonic(), |unbound| unbound.since);
        facts.unbound = (count > 0).then_some(Unbound { count, since });
    }

    /// Whether notifications arrive, judged by the last probe and the bindings.
    pub(super) fn check(&self) -> Result<(), NotificationFault> {
        let facts = self.facts.lock();
        if let Some(cause) = &facts.interruption {
            return Err(NotificationFault::Interrupted(cause.clone()));
        }
        let cause = || facts.probe_failure.as_deref().unwrap_or("it is on its way").to_owned();
        match facts.proven_at.map(|at| self.clock.elapsed(at)) {
            None => return Err(NotificationFault::Unproven(cause())),
            Some(age) if age > PROBE_OLD => {
                return Err(NotificationFault::Silent { seconds: age.as_secs(), cause: cause() });
            }
            Some(_) => {}
        }
        let Some(Unbound { count, since }) = facts.unbound else { return Ok(()) };
        let waited = self.clock.elapsed(since);
        if waited <= UNBOUND_LONG {
            return Ok(());
        }
        Err(NotificationFault::Unbound { count, seconds: waited.as_secs() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notifications_are_healthy_while_probes_come_back_and_keys_are_bound() {
        let (clock, hand) = Clock::turnable();
        let health = NotificationHealth::new(clock);
        assert!(matches!(health.check(), Err(NotificationFault::Interrupted(_))));
        health.listening();
        health.probed(Some("refused".into()));
        assert_eq!(health.check(), Err(NotificationFault::Unproven("refused".into())));
        health.proven();
        assert_eq!(health.check(), Ok(()));
        health.unbound(2);
        assert_eq!(health.check(), Ok(()));
        hand.forward(UNBOUND_LONG + Duration::from_secs(1));
        health.unbound(1);
        assert_eq!(health.check(), Err(NotificationFault::Unbound { count: 1, seconds: 11 }));
        health.unbound(0);
        assert_eq!(health.check(), Ok(()));
        hand.forward(PROBE_OLD);
        assert!(matches!(health.check(), Err(NotificationFault::Silent { seconds: 71, .. })));
    }
}
