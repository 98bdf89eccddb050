//! The messages of one channel that the broker has not confirmed yet.
//!
//! # Which message was returned
//! RabbitMQ returns a message that reached no queue before it confirms the message. lapin queues
//! returned messages and attaches the head of that queue to the next confirm, whichever message
//! that confirm is for. So when a message is confirmed:
//!
//! - *without* a returned message: lapin's queue was empty. If this message was returned, an
//!   earlier confirm carried it. The fate of this message is certain once every confirm that was
//!   there before its own has been read.
//! - *with* a returned message: this message may still be in lapin's queue. That queue never holds
//!   more messages than were returned and are not confirmed, so it is empty when nothing is in
//!   flight. Nothing further is published until then, and then the fate of this message is certain.

use super::publication::{Published, Submission};
use crate::{
    amqp::{AmqpError, LIMIT},
    clock::Clock,
};
use futures_util::FutureExt;
use lapin::{Confirmation, PublisherConfirm, message::BasicReturnMessage};
use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// The most messages in flight.
const LENGTH: usize = 256;

/// How long an empty window may stay silent. No limit is needed, but the caller's timer wants one.
const IDLE: Duration = Duration::from_hours(1);

/// Pause between reads of all confirms while the oldest has not come. Usually the oldest comes
/// first, and many others with it.
const TICK: Duration = Duration::from_millis(20);

/// Messages in flight, oldest first.
pub(super) struct ConfirmWindow {
    address: String,
    clock: Clock,
    in_flight: Vec<InFlight>,
    /// Returned messages that are not matched yet with the messages in flight.
    returned: Vec<BasicReturnMessage>,
    read_at: Instant,
}

struct InFlight {
    submission: Submission,
    since: Instant,
    returned: bool,
    state: State,
}

enum State {
    Unconfirmed(PublisherConfirm),
    /// Confirmed. Whether the message was returned is certain when nothing is in flight.
    Uncertain,
    Confirmed,
    Failed(AmqpError),
}

impl ConfirmWindow {
    pub(super) fn new(address: &str, clock: &Clock) -> Self {
        Self {
            address: address.to_owned(),
            clock: clock.clone(),
            in_flight: Vec::with_capacity(LENGTH),
            returned: Vec::new(),
            read_at: clock.monotonic(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// How many more messages may be published now.
    pub(super) fn room(&self) -> usize {
        let uncertain = |message: &InFlight| matches!(message.state, State::Uncertain);
        if self.in_flight.iter().any(uncertain) {
            return 0;
        }
        LENGTH.saturating_sub(self.in_flight.len())
    }

    /// How long until the broker has been silent for too long, unless a message is settled before.
    pub(super) fn until_silent(&self) -> Duration {
        let oldest = self.in_flight.first();
        oldest.map_or(IDLE, |oldest| LIMIT.saturating_sub(self.clock.elapsed(oldest.since)))
    }

    pub(super) fn add(&mut self, submission: Submission, confirm: PublisherConfirm) {
        let (since, state) = (self.clock.monotonic(), State::Unconfirmed(confirm));
        self.in_flight.push(InFlight { submission, since, returned: false, state });
    }

    /// Answers every message in flight with an error.
    pub(super) fn fail(&mut self, error: &AmqpError) {
        for message in self.in_flight.drain(..) {
            message.submission.answer(Err(error.clone()));
        }
    }

    /// Waits until a message may be confirmed or lost, and answers the messages whose fate is
    /// certain.
    pub(super) async fn settled(&mut self) {
        if self.is_empty() {
            return std::future::pending().await;
        }
        let tick = TICK.saturating_sub(self.clock.elapsed(self.read_at));
        tokio::select! {
            () = poll_fn(|context| self.poll_oldest(context)) => {}
            () = sleep(tick) => {}
        }
        // Until a whole round finds no confirm: then every confirm that was there before the last
        // one found has been read.
        while self.read_confirms() {}
        self.read_at = self.clock.monotonic();
        for returned in std::mem::take(&mut self.returned) {
            for message in &mut self.in_flight {
                message.returned |= message.submission.publication.may_be(&returned);
            }
        }
        self.answer();
    }

    fn poll_oldest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for message in &mut self.in_flight {
            if matches!(message.state, State::Unconfirmed(_)) {
                let found = message.read_confirm(context, &self.address, &mut self.returned);
                return if found { Poll::Ready(()) } else { Poll::Pending };
            }
        }
        Poll::Ready(())
    }

    /// Reads every confirm that is there. Returns whether there was one.
    fn read_confirms(&mut self) -> bool {
        // The next poll of the oldest message registers a waker again.
        let mut context = Context::from_waker(Waker::noop());
        let mut found = false;
        for message in &mut self.in_flight {
            found |= message.read_confirm(&mut context, &self.address, &mut self.returned);
        }
        found
    }

    /// Answers the messages whose fate is certain.
    fn answer(&mut self) {
        let unconfirmed = |message: &InFlight| matches!(message.state, State::Unconfirmed(_));
        let waits = self.in_flight.iter().any(unconfirmed);
        let failure = self.in_flight.iter().find_map(|message| match &message.state {
            State::Failed(error) => Some(error.clone()),
            _ => None,
        });
        for message in std::mem::take(&mut self.in_flight) {
            let published = if message.returned { Published::Returned } else { Published::Routed };
            let outcome = match (&message.state, &failure) {
                (State::Unconfirmed(_), _) => {
                    self.in_flight.push(message);
                    continue;
                }
                (State::Uncertain, _) if waits => {
                    self.in_flight.push(message);
                    continue;
                }
                // lapin's queue of returned messages is gone with the channel.
                (State::Uncertain, Some(error)) if !message.returned => Err(error.clone()),
                (State::Uncertain | State::Confirmed, _) => Ok(published),
                (State::Failed(error), _) => Err(error.clone()),
            };
            message.submission.answer(outcome);
        }
    }
}

impl InFlight {
    /// Reads the message's confirm. Returns whether it was there.
    fn read_confirm(
        &mut self,
        context: &mut Context<'_>,
        address: &str,
        returned: &mut Vec<BasicReturnMessage>,
    ) -> bool {
        let State::Unconfirmed(confirm) = &mut self.state else { return false };
        let Poll::Ready(confirmation) = confirm.poll_unpin(context) else { return false };
        self.state = match confirmation {
            Ok(Confirmation::Ack(None)) => State::Confirmed,
            Ok(Confirmation::Ack(Some(message))) => {
                returned.push(message);
                State::Uncertain
            }
            Ok(Confirmation::Nack(message)) => {
                returned.extend(message);
                State::Failed(AmqpError::NotTaken { address: address.to_owned() })
            }
            Ok(Confirmation::NotRequested) => {
                State::Failed(lost(address, "it was not asked to confirm"))
            }
            Err(error) => State::Failed(AmqpError::of(error, address)),
        };
        true
    }
}

/// Failure after which it is not known whether the broker has the message.
pub(super) fn lost(address: &str, cause: &str) -> AmqpError {
    AmqpError::Unreachable { address: address.to_owned(), cause: cause.to_owned() }
}
