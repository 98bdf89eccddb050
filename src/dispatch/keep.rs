//! Keeping events that could not be published.

use super::Dispatcher;
use crate::{
    bus::{
        DispatchError, Outgoing,
        codec::{Encoded, encode},
    },
    domain::{
        bus::Codec,
        dead_letter::{DeadLetter, FailureFacts},
        name::BusName,
    },
    error_chain::error_chain,
};
use uuid::Uuid;

/// Whether publishing the event may succeed later. An event that can never be published is not
/// kept.
pub(super) fn is_worth_retrying(error: &DispatchError) -> bool {
    match error {
        DispatchError::Unavailable { .. } | DispatchError::Unroutable(_) => true,
        DispatchError::Unwritable(_) => false,
    }
}

/// Reason why an event that could not be published was not kept either.
pub(super) enum NotKept {
    /// The event can never be published, or cannot be written for the database.
    Event(DispatchError),
    /// The database did not take the event.
    Store(DispatchError),
}

impl Dispatcher {
    /// Keeps an event that could not be published. Each failure is an entry, even of an event that
    /// has an entry already, so that events are published in the order in which they were
    /// dispatched.
    ///
    /// The event is stored as a `CloudEvent`, even when its bus uses another form: every event can
    /// be written as a `CloudEvent`, and is unchanged when it is read back.
    pub(super) async fn keep(
        &self,
        bus: &BusName,
        outgoing: &Outgoing,
        error: DispatchError,
    ) -> Result<(), NotKept> {
        if !is_worth_retrying(&error) {
            return Err(NotKept::Event(error));
        }
        let event = &outgoing.event;
        // Bytes grow as JSON, so an event that is too large as JSON may still fit as MessagePack.
        let encoded = encode(Codec::Json, event).or_else(|_| encode(Codec::MsgPack, event));
        let Ok(Encoded { content_type, body }) = encoded else { return Err(NotKept::Event(error)) };
        let (now, cause) = (self.clock.now(), error_chain(&error));
        let facts = FailureFacts {
            id: Uuid::now_v7(),
            bus: bus.clone(),
            content_type: Some(content_type.to_owned()),
            cause,
            attempts: 1,
            first_failed_at: None,
            last_failed_at: now,
            node: self.roster.node().id.clone(),
            previous: None,
        };
        let letter = DeadLetter::of_dispatch(event, outgoing.keys.clone(), facts);
        let kept = self.store.keep_dead_letter(&letter, &body).await;
        let cause = letter.cause;
        if let Err(error) = kept {
            return Err(NotKept::Store(DispatchError::Unavailable {
                what: format!(
                    "it could not be published ({cause}), and could not be kept in the database either"
                ),
                source: Some(Box::new(error)),
            }));
        }
        self.metrics.dispatch_failed(bus);
        self.publishing.failed(bus, &cause);
        Ok(())
    }
}
