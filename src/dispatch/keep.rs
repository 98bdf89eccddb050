//! Keeping what could not be published.

use super::Dispatcher;
use crate::{
    bus::{
        DispatchError, Outgoing,
        codec::{Encoded, encode},
    },
    clock,
    domain::{
        bus::Codec,
        dead_letter::{DISPATCH_FAILURE, DeadLetter},
        name::{BusName, GroupName},
    },
    error_chain::error_chain,
};
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashSet};
use tokio::sync::Notify;
use uuid::Uuid;

/// Which buses take no events, as far as this node has noticed.
#[derive(Default)]
pub(super) struct Outages {
    buses: Mutex<BTreeSet<BusName>>,
    /// Entries that were published and could not be removed: a database that reads and does not
    /// write must not have them published for ever.
    sent: Mutex<HashSet<Uuid>>,
    /// Rung when an event was kept.
    pub(super) kept: Notify,
    /// Rung when a bus takes events again.
    pub(super) recovered: Notify,
}

impl Outages {
    /// A bus did not take an event, which was kept. Returns whether it took the one before.
    fn begin(&self, bus: &BusName) -> bool {
        self.kept.notify_one();
        self.buses.lock().insert(bus.clone())
    }

    /// An entry was published.
    pub(super) fn sent(&self, id: Uuid) {
        self.sent.lock().insert(id);
    }

    /// Whether an entry was published, and is there still.
    pub(super) fn is_sent(&self, id: Uuid) -> bool {
        self.sent.lock().contains(&id)
    }

    /// An entry is gone.
    pub(super) fn forget(&self, id: Uuid) {
        self.sent.lock().remove(&id);
    }

    /// A bus took an event. Returns whether it did not take the one before.
    pub(super) fn over(&self, bus: &BusName) -> bool {
        self.buses.lock().remove(bus)
    }
}

/// Whether publishing may succeed at another time. What is refused for good is not kept.
pub(super) fn may_pass(error: &DispatchError) -> bool {
    match error {
        DispatchError::Unavailable { .. } | DispatchError::Unroutable(_) => true,
        DispatchError::Unwritable(_) => false,
    }
}

/// Why an event that could not be published is not kept either.
pub(super) enum Unkept {
    /// Because of what it is, or what it could not be published for.
    Event(DispatchError),
    /// Because the database did not take it.
    Store(DispatchError),
}

fn dispatch_failure() -> GroupName {
    GroupName::parse(DISPATCH_FAILURE).expect("the reserved name is a name")
}

impl Dispatcher {
    /// Keeps an event that could not be published. Every failure is an entry of its own, also of
    /// the same event, so that they go out in the order in which they came.
    ///
    /// The event is stored as a `CloudEvent`, also when its bus uses another format: every event can
    /// be written as a `CloudEvent`, and is unchanged when it is read back.
    pub(super) async fn keep(
        &self,
        bus: &BusName,
        outgoing: &Outgoing,
        error: DispatchError,
    ) -> Result<(), Unkept> {
        if !may_pass(&error) {
            return Err(Unkept::Event(error));
        }
        let event = &outgoing.event;
        // Bytes grow as JSON: an event that is too large so may still fit in the other form.
        let encoded = encode(Codec::Json, event).or_else(|_| encode(Codec::MsgPack, event));
        let Ok(Encoded { content_type, body }) = encoded else { return Err(Unkept::Event(error)) };
        let (now, cause) = (clock::now(), error_chain(&error));
        let letter = DeadLetter {
            id: Uuid::now_v7(),
            bus: bus.clone(),
            group: dispatch_failure(),
            origin: None,
            event_id: Some(event.id.clone()),
            event_type: Some(event.kind.clone()),
            user: event.user.clone(),
            content_type: Some(content_type.to_owned()),
            keys: outgoing.keys.clone(),
            cause,
            attempts: 1,
            first_failed_at: now,
            last_failed_at: now,
            node: self.roster.node().id.clone(),
            previous: None,
        };
        let kept = self.store.keep_dead_letter(&letter, &body).await;
        let cause = letter.cause;
        if let Err(error) = kept {
            return Err(Unkept::Store(DispatchError::Unavailable {
                what: format!(
                    "it could not be published ({cause}), and could not be kept in the database either"
                ),
                source: Some(Box::new(error)),
            }));
        }
        self.metrics.dispatch_failed(bus);
        if self.outages.begin(bus) {
            tracing::warn!(%bus, cause, "events for bus {bus} cannot be published; they are kept in the database and published once that works: {cause}");
        }
        Ok(())
    }
}
