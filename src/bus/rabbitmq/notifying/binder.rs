//! Keeps the bindings of a node's queue equal to the keys that this node follows.
//!
//! The binder decides from the keys that are followed when it looks, never from what woke it.
//!
//! Binding costs the broker a transaction for each key. A node with very many keys binds the key
//! that every notification has instead, and ignores notifications of keys that it does not follow.

use super::{
    audience::BusAudience,
    error::ListeningError,
    key_bindings::{BindingOperation, KeyBindings, KeyDecision},
    routing_keys,
};
use crate::{
    amqp::{Amqp, AmqpError, name},
    clock::Clock,
    domain::name::RegistrationKey,
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use lapin::{
    Channel,
    options::QueueBindOptions,
    types::{FieldTable, ShortString},
};
use std::time::{Duration, Instant};
use tokio::{sync::mpsc, time::sleep};

/// The most operations in flight at the same time.
const IN_FLIGHT: usize = 64;

/// More followed keys than these are not bound one by one.
const MANY: usize = 20_000;

/// Pause between two rounds that bind again every key on a foreign exchange, beside [`EACH_AGAIN`]
/// for each key. The broker does not say when such an exchange was declared again and lost its
/// bindings, and hearken's probes do not go through it. Binding a bound key changes nothing.
const AGAIN: Duration = Duration::from_secs(20);

/// Addition of each key to [`AGAIN`], so that many keys are little load for the broker.
const EACH_AGAIN: Duration = Duration::from_millis(10);

/// How many keys are decided before the binder sees what else happened.
const DECISIONS: usize = 1024;

/// The exchange that notifications come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotificationSource {
    /// An exchange of hearken. Its notifications have [`routing_keys::EVERY`], and a probe shows
    /// when it loses its bindings.
    Own,
    /// An exchange of another system.
    Foreign,
}

/// A queue with the exchange that its keys are bound to.
pub(super) struct BindingTarget<'a> {
    pub(super) amqp: &'a Amqp,
    pub(super) channel: Channel,
    pub(super) queue: ShortString,
    pub(super) exchange: ShortString,
    pub(super) source: NotificationSource,
}

/// An operation that the broker answered.
struct Answer {
    key: RegistrationKey,
    operation: BindingOperation,
    outcome: Result<(), AmqpError>,
}

/// Binds and unbinds the keys of one queue.
pub(super) struct Binder<'a> {
    target: BindingTarget<'a>,
    audience: &'a BusAudience,
    clock: Clock,
    bindings: KeyBindings,
    in_flight: FuturesUnordered<BoxFuture<'a, Answer>>,
    /// When every key on a foreign exchange is bound again.
    again_at: Instant,
}

impl<'a> Binder<'a> {
    /// A binder of a queue that has no bindings yet.
    pub(super) fn new(target: BindingTarget<'a>, audience: &'a BusAudience, clock: &Clock) -> Self {
        Self {
            target,
            audience,
            bindings: KeyBindings::new(audience.registry.keys()),
            in_flight: FuturesUnordered::new(),
            again_at: clock.monotonic() + AGAIN,
            clock: clock.clone(),
        }
    }

    /// Binds and unbinds until the broker refuses or is gone.
    pub(super) async fn run(
        mut self,
        touched: &mut mpsc::UnboundedReceiver<RegistrationKey>,
    ) -> ListeningError {
        let mut keys = Vec::new();
        loop {
            if let Err(error) = self.bind_every_when_many().await {
                return error.into();
            }
            self.decide();
            self.audience.health.unbound(self.bindings.behind());
            self.audience.registry.bindings(self.bindings.bound());
            let may_decide = self.bindings.has_undecided() && self.in_flight.len() < IN_FLIGHT;
            let expiry = self.bindings.next_end().map(|end| self.until(end));
            let again = self.until(self.again_at);
            let foreign = self.target.source == NotificationSource::Foreign;
            tokio::select! {
                Some(answer) = self.in_flight.next(), if !self.in_flight.is_empty() => {
                    if let Err(error) = self.done(answer) {
                        return error.into();
                    }
                }
                count = touched.recv_many(&mut keys, DECISIONS) => {
                    if count == 0 {
                        return ListeningError::BusClosed;
                    }
                    self.bindings.touch(keys.drain(..));
                }
                () = sleep(expiry.unwrap_or_default()), if expiry.is_some() => {
                    self.bindings.expire(self.clock.monotonic());
                }
                () = sleep(again), if foreign => self.bind_again(),
                () = tokio::task::yield_now(), if may_decide => {}
            }
        }
    }

    fn until(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.clock.monotonic())
    }

    /// Binds the key that every notification has, when this node follows very many keys.
    async fn bind_every_when_many(&mut self) -> Result<(), AmqpError> {
        let many = self.target.source == NotificationSource::Own
            && !self.bindings.is_every_bound()
            && self.audience.registry.followed() > MANY;
        if !many {
            return Ok(());
        }
        let BindingTarget { amqp, channel, queue, exchange, .. } = &self.target;
        let (queue, exchange, key) = (queue.clone(), exchange.clone(), routing_keys::EVERY.into());
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        amqp.answer(channel.queue_bind(queue, exchange, key, options, none)).await?;
        self.bindings.every_bound();
        Ok(())
    }

    /// Decides about keys, and starts what they need.
    fn decide(&mut self) {
        let now = self.clock.monotonic();
        for _ in 0..DECISIONS {
            if self.in_flight.len() >= IN_FLIGHT {
                return;
            }
            let Some(key) = self.bindings.next() else { return };
            let followed = self.audience.registry.is_followed(&key);
            match self.bindings.decide(&key, followed, now) {
                KeyDecision::Request(operation) => self.start(key, operation),
                KeyDecision::Arrives => self.audience.registry.bound(&key),
                KeyDecision::Wait => {}
            }
        }
    }

    fn start(&self, key: RegistrationKey, operation: BindingOperation) {
        let (amqp, channel) = (self.target.amqp, self.target.channel.clone());
        let (queue, exchange) = (self.target.queue.clone(), self.target.exchange.clone());
        let requesting = async move {
            let outcome = match name(key.as_str()) {
                Ok(routing) => {
                    let none = FieldTable::default();
                    match operation {
                        BindingOperation::Bind | BindingOperation::BindAgain => {
                            let options = QueueBindOptions::default();
                            let binding =
                                channel.queue_bind(queue, exchange, routing, options, none);
                            amqp.answer(binding).await
                        }
                        BindingOperation::Unbind => {
                            amqp.answer(channel.queue_unbind(queue, exchange, routing, none)).await
                        }
                    }
                }
                Err(error) => Err(error),
            };
            Answer { key, operation, outcome }
        };
        self.in_flight.push(Box::pin(requesting));
    }

    fn done(&mut self, answer: Answer) -> Result<(), AmqpError> {
        let Answer { key, operation, outcome } = answer;
        outcome?;
        if operation == BindingOperation::Bind {
            self.audience.registry.bound(&key);
        }
        self.bindings.done(key, operation);
        Ok(())
    }

    /// Has every followed key bound again.
    fn bind_again(&mut self) {
        let followed = self.audience.registry.keys();
        let count = u32::try_from(followed.len()).unwrap_or(u32::MAX);
        self.bindings.bind_again(followed);
        self.again_at = self.clock.monotonic() + AGAIN + EACH_AGAIN * count;
    }
}
