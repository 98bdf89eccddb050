//! A message to publish, and what the broker did with it.

use crate::{amqp::AmqpError, bus::codec::Encoded};
use lapin::{
    BasicProperties, Channel, PublisherConfirm, message::BasicReturnMessage,
    options::BasicPublishOptions, types::ShortString,
};
use std::sync::Arc;
use tokio::sync::oneshot;

/// AMQP's delivery mode for messages that outlive a restart of the broker.
pub(crate) const PERSISTENT: u8 = 2;

/// An event in the form of its bus. Clones share the bytes.
#[derive(Clone)]
pub(crate) struct Payload {
    /// Media type of the body.
    pub(crate) content_type: &'static str,
    /// The bytes.
    pub(crate) body: Arc<[u8]>,
}

impl From<Encoded> for Payload {
    fn from(Encoded { content_type, body }: Encoded) -> Self {
        Self { content_type, body: body.into() }
    }
}

/// A message to publish. Clones share the body.
#[derive(Clone)]
pub(crate) struct Publication {
    key: ShortString,
    body: Arc<[u8]>,
    properties: BasicProperties,
    mandatory: bool,
}

impl Publication {
    /// A message that the broker returns when no queue is bound for it.
    pub(crate) fn new(
        key: ShortString,
        body: impl Into<Arc<[u8]>>,
        properties: BasicProperties,
    ) -> Self {
        Self { key, body: body.into(), properties, mandatory: true }
    }

    /// The same message, which the broker drops when no queue is bound for it.
    pub(crate) fn optional(self) -> Self {
        Self { mandatory: false, ..self }
    }

    /// Sends the message on a channel, and returns the confirm to wait for.
    pub(super) async fn send(
        &self,
        channel: &Channel,
        exchange: ShortString,
    ) -> lapin::Result<PublisherConfirm> {
        let options =
            BasicPublishOptions { mandatory: self.mandatory, ..BasicPublishOptions::default() };
        let (key, properties) = (self.key.clone(), self.properties.clone());
        channel.basic_publish(exchange, key, options, &self.body, properties).await
    }

    /// Whether a returned message may be this one. Two messages with the same bytes cannot be told
    /// apart: both count as returned then.
    pub(super) fn may_be(&self, returned: &BasicReturnMessage) -> bool {
        returned.delivery.routing_key == self.key && returned.delivery.data[..] == *self.body
    }
}

/// What the broker did with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Published {
    /// The message is in at least one queue, and safe.
    Routed,
    /// No queue is bound for the message: the broker does not have it.
    Returned,
}

/// Outcome of publishing. On an error it is not known whether the broker has the message.
pub(crate) type PublishOutcome = Result<Published, AmqpError>;

/// A message with the caller that waits for its outcome.
pub(super) struct Submission {
    pub(super) publication: Publication,
    answer: oneshot::Sender<PublishOutcome>,
}

impl Submission {
    pub(super) fn new(publication: Publication) -> (Self, oneshot::Receiver<PublishOutcome>) {
        let (answer, outcome) = oneshot::channel();
        (Self { publication, answer }, outcome)
    }

    /// Whether the caller has stopped waiting.
    pub(super) fn is_abandoned(&self) -> bool {
        self.answer.is_closed()
    }

    /// Tells the caller the outcome.
    pub(super) fn answer(self, outcome: PublishOutcome) {
        // Fails when the caller has stopped waiting: the outcome has no reader then.
        let _ = self.answer.send(outcome);
    }
}
