//! What was published on a channel and is not answered yet.
//!
//! # Which message was returned
//! RabbitMQ sends a message that reached no queue back before it confirms it. The client puts what
//! came back into a line and gives each confirm, whatever it confirms, the first of the line. So
//! when a message is confirmed:
//!
//! - without anything from the line, the line is empty, and if the message had come back it went
//!   with a confirm before this one: its fate is certain once every confirm that was there before
//!   it has been looked at;
//! - with something from the line, the message itself may still be in it. There are never more in
//!   the line than messages that came back and are not confirmed, so the line is empty when nothing
//!   is in flight. Until then nothing further is published, and then its fate is certain too.

use super::{Job, Message, Outcome, Published};
use crate::amqp::{AmqpError, LIMIT};
use futures_util::FutureExt;
use lapin::{Confirmation, PublisherConfirm, message::BasicReturnMessage};
use std::{
    future::poll_fn,
    task::{Context, Poll, Waker},
};
use tokio::time::{Instant, sleep_until};

/// The most messages in flight.
const LENGTH: usize = 256;

/// How long an empty window waits for nothing.
const IDLE: std::time::Duration = std::time::Duration::from_hours(1);

/// How often confirms are looked at while the oldest does not come. Usually it comes first, and
/// with it many others.
const TICK: std::time::Duration = std::time::Duration::from_millis(20);

/// Messages in flight, oldest first.
pub(super) struct Window {
    address: String,
    flying: Vec<Flying>,
    /// What came back and is not yet matched with what is in flight.
    returned: Vec<BasicReturnMessage>,
    tick: Instant,
}

struct Flying {
    job: Job,
    since: Instant,
    returned: bool,
    state: State,
}

enum State {
    Waiting(PublisherConfirm),
    /// Confirmed, and whether it came back is certain when nothing is in flight.
    Held,
    Confirmed,
    Failed(AmqpError),
}

impl Window {
    pub(super) fn new(address: &str) -> Self {
        let (address, flying) = (address.to_owned(), Vec::with_capacity(LENGTH));
        Self { address, flying, returned: Vec::new(), tick: Instant::now() + TICK }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.flying.is_empty()
    }

    /// How many more may be published at this time.
    pub(super) fn room(&self) -> usize {
        let held = self.flying.iter().any(|one| matches!(one.state, State::Held));
        if held { 0 } else { LENGTH.saturating_sub(self.flying.len()) }
    }

    /// When the broker has been silent for too long, unless something is settled before.
    pub(super) fn silence(&self) -> Instant {
        self.flying.first().map_or_else(|| Instant::now() + IDLE, |oldest| oldest.since + LIMIT)
    }

    pub(super) fn add(&mut self, job: Job, confirm: PublisherConfirm) {
        let (since, state) = (Instant::now(), State::Waiting(confirm));
        self.flying.push(Flying { job, since, returned: false, state });
    }

    /// Answers everything in flight with an error.
    pub(super) fn fail(&mut self, error: &AmqpError) {
        for one in self.flying.drain(..) {
            // Gone when its caller gave up: nobody is told. So everywhere below.
            let _ = one.job.answer.send(Err(error.clone()));
        }
    }

    /// Waits until something may be confirmed or lost, and answers what is certain.
    pub(super) async fn settled(&mut self) {
        if self.is_empty() {
            return std::future::pending().await;
        }
        let tick = self.tick;
        tokio::select! {
            () = poll_fn(|context| self.poll_oldest(context)) => {}
            () = sleep_until(tick) => {}
        }
        // Until a whole round finds nothing: then every confirm has been looked at that was there
        // before the last one that was found.
        while self.look() {}
        self.tick = Instant::now() + TICK;
        for message in std::mem::take(&mut self.returned) {
            for one in &mut self.flying {
                one.returned |= is_of(&message, &one.job.message);
            }
        }
        self.answer();
    }

    fn poll_oldest(&mut self, context: &mut Context<'_>) -> Poll<()> {
        for one in &mut self.flying {
            if matches!(one.state, State::Waiting(_)) {
                let found = one.look(context, &self.address, &mut self.returned);
                return if found { Poll::Ready(()) } else { Poll::Pending };
            }
        }
        Poll::Ready(())
    }

    /// Looks at every confirm once. Returns whether one was there.
    fn look(&mut self) -> bool {
        // Whoever waits for the oldest registers again.
        let mut context = Context::from_waker(Waker::noop());
        let mut found = false;
        for one in &mut self.flying {
            found |= one.look(&mut context, &self.address, &mut self.returned);
        }
        found
    }

    fn answer(&mut self) {
        let waits = self.flying.iter().any(|one| matches!(one.state, State::Waiting(_)));
        let failure = self.flying.iter().find_map(|one| match &one.state {
            State::Failed(error) => Some(error.clone()),
            _ => None,
        });
        let published =
            |one: &Flying| if one.returned { Published::Returned } else { Published::Routed };
        for one in std::mem::take(&mut self.flying) {
            let outcome: Outcome = match &one.state {
                State::Waiting(_) => {
                    self.flying.push(one);
                    continue;
                }
                State::Held if waits => {
                    self.flying.push(one);
                    continue;
                }
                // The line is gone with the channel, whoever was in it.
                State::Held if !one.returned && failure.is_some() => {
                    Err(failure.clone().expect("it is there"))
                }
                State::Held | State::Confirmed => Ok(published(&one)),
                State::Failed(error) => Err(error.clone()),
            };
            let _ = one.job.answer.send(outcome);
        }
    }
}

impl Flying {
    /// Looks at its confirm. Returns whether it was there.
    fn look(
        &mut self,
        context: &mut Context<'_>,
        address: &str,
        returned: &mut Vec<BasicReturnMessage>,
    ) -> bool {
        let State::Waiting(confirm) = &mut self.state else { return false };
        let Poll::Ready(confirmation) = confirm.poll_unpin(context) else { return false };
        self.state = match confirmation {
            Ok(Confirmation::Ack(None)) => State::Confirmed,
            Ok(Confirmation::Ack(Some(message))) => {
                returned.push(message);
                State::Held
            }
            Ok(Confirmation::Nack(message)) => {
                returned.extend(message);
                State::Failed(AmqpError::NotTaken { address: address.to_owned() })
            }
            Ok(Confirmation::NotRequested) => State::Failed(lost(address, UNASKED)),
            Err(error) => State::Failed(AmqpError::of(error, address)),
        };
        true
    }
}

const UNASKED: &str = "it was not asked to confirm";

/// Two messages that are the same in every byte are not told apart: both came back then.
fn is_of(returned: &BasicReturnMessage, message: &Message) -> bool {
    returned.delivery.routing_key == message.key && returned.delivery.data[..] == *message.body
}

/// It is not known whether the broker has it.
pub(super) fn lost(address: &str, cause: &str) -> AmqpError {
    AmqpError::Unreachable { address: address.to_owned(), cause: cause.to_owned() }
}
