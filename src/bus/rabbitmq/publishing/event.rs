//! Events and redelivered events as messages.

use super::{
    publication::{PERSISTENT, Payload, Publication, PublishOutcome, Published},
    publisher::Publisher,
};
use crate::{
    amqp::{AmqpError, LIMIT, name},
    bus::{
        DispatchError, Outgoing, Redelivery,
        rabbitmq::{headers, signer::Signer},
    },
    clock::{self, Clock},
    domain::{bus::BusDefinition, layout::Layout},
};
use backon::{ExponentialBuilder, Retryable};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{sync::Arc, time::Duration};
use tokio::time::timeout;

/// The publishing application, as operators see it in a message.
const APP: &str = "hearken";

/// Publishes events to the main exchange of a bus, and redelivered events to one group.
pub(crate) struct EventPublisher {
    publisher: Arc<Publisher>,
    signer: Arc<Signer>,
    layout: Layout,
    clock: Clock,
}

impl EventPublisher {
    /// A publisher of events that are signed and named by these rules.
    pub(crate) fn new(
        publisher: &Arc<Publisher>,
        signer: &Arc<Signer>,
        layout: &Layout,
        clock: &Clock,
    ) -> Self {
        let (publisher, signer) = (Arc::clone(publisher), Arc::clone(signer));
        Self { publisher, signer, layout: layout.clone(), clock: clock.clone() }
    }

    /// Publishes an event to every work queue of its bus.
    pub(crate) async fn publish(
        &self,
        bus: &BusDefinition,
        outgoing: &Outgoing,
        payload: &Payload,
    ) -> Result<(), DispatchError> {
        let exchange = self.layout.events(bus);
        let properties = self.properties(bus, outgoing, payload.content_type);
        let body = Arc::clone(&payload.body);
        let publication = Publication::new(ShortString::default(), body, properties);
        match self.publish_safely(&exchange, &publication).await {
            Ok(Published::Returned) if outgoing.must_route => {
                Err(DispatchError::Unroutable(bus.name.clone()))
            }
            Ok(Published::Routed | Published::Returned) => Ok(()),
            Err(error) => {
                let id = &outgoing.event.id;
                let action = format!("publishing event {id} to exchange {exchange}");
                Err(unavailable(action, Some(error)))
            }
        }
    }

    /// Publishes a dead letter's event to the work queue of its group.
    pub(crate) async fn redeliver(
        &self,
        bus: &BusDefinition,
        redelivery: &Redelivery,
    ) -> Result<(), DispatchError> {
        let exchange = self.layout.returns(&bus.name);
        let action = || {
            format!(
                "redelivering an event to group {} through exchange {exchange}",
                redelivery.group
            )
        };
        let publication =
            self.redelivered(redelivery).map_err(|error| unavailable(action(), Some(error)))?;
        match self.publish_safely(&exchange, &publication).await {
            Ok(Published::Routed) => Ok(()),
            Ok(Published::Returned) => Err(unavailable(action() + ": it has no queue", None)),
            Err(error) => Err(unavailable(action(), Some(error))),
        }
    }

    /// Tries three times, since a duplicate costs less than an event that its producer gives up,
    /// for [`LIMIT`] at most. A refusal is final. So is [`AmqpError::NotTaken`]: the other queues
    /// have the event, and each try within the seconds in which one queue has no leader would give
    /// them a duplicate.
    async fn publish_safely(&self, exchange: &str, publication: &Publication) -> PublishOutcome {
        let tries = ExponentialBuilder::default()
            .with_min_delay(Duration::from_millis(100))
            .with_max_times(2)
            .with_jitter();
        let publishing = (async || self.publisher.publish(exchange, publication.clone()).await)
            .retry(tries)
            .when(|error| error.is_transient() && !matches!(error, AmqpError::NotTaken { .. }));
        match timeout(LIMIT, publishing).await {
            Ok(outcome) => outcome,
            Err(_) => Err(AmqpError::silent(self.publisher.address())),
        }
    }

    /// Properties of an event's message. A message on an exchange of James has exactly the
    /// properties that James writes.
    fn properties(
        &self,
        bus: &BusDefinition,
        outgoing: &Outgoing,
        content_type: &str,
    ) -> BasicProperties {
        let event = &outgoing.event;
        let properties = BasicProperties::default()
            .with_content_type(content_type.into())
            .with_delivery_mode(PERSISTENT);
        let mut headers = self.signer.sign(bus, outgoing.kept_by.as_deref());
        if bus.attached {
            return properties.with_headers(headers);
        }
        let published_at = AMQPValue::LongLongInt(clock::to_micros(self.clock.now()));
        headers.insert(headers::PUBLISHED_AT.into(), published_at);
        let mut properties =
            properties.with_timestamp(self.seconds()).with_app_id(APP.into()).with_headers(headers);
        // An id or a type that is too long for AMQP still travels in the body.
        if let Ok(id) = ShortString::try_new(event.id.as_str()) {
            properties = properties.with_message_id(id);
        }
        if let Ok(kind) = ShortString::try_new(event.kind.as_str()) {
            properties = properties.with_type(kind);
        }
        properties
    }

    /// The message of a redelivered event.
    fn redelivered(&self, redelivery: &Redelivery) -> Result<Publication, AmqpError> {
        let Redelivery { group, content_type, body, previous, .. } = redelivery;
        let mut headers = FieldTable::default();
        let previous = AMQPValue::LongString(previous.to_string().into());
        headers.insert(headers::PREVIOUS.into(), previous);
        let mut properties = BasicProperties::default()
            .with_delivery_mode(PERSISTENT)
            .with_timestamp(self.seconds())
            .with_app_id(APP.into())
            .with_headers(headers);
        if let Some(content_type) = content_type {
            properties = properties.with_content_type(name(content_type)?);
        }
        Ok(Publication::new(name(group.as_str())?, body.as_slice(), properties))
    }

    /// Time of publishing, in AMQP's seconds.
    fn seconds(&self) -> u64 {
        u64::try_from(self.clock.now().unix_timestamp()).unwrap_or_default()
    }
}

fn unavailable(what: String, source: Option<AmqpError>) -> DispatchError {
    DispatchError::Unavailable { what, source: source.map(Into::into) }
}
