//! Notifications on their way out.

use super::routing_keys;
use crate::{
    amqp::{AmqpError, name},
    bus::{
        Outgoing,
        rabbitmq::{
            publishing::{PERSISTENT, Payload, Publication, Publisher},
            signer::Signer,
        },
    },
    domain::{
        bus::{BusDefinition, Codec},
        layout::Layout,
        name::RegistrationKey,
    },
};
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::time::timeout;

/// How long notifying may take. The event itself is safe by then.
const LIMIT: Duration = Duration::from_secs(5);

/// The largest size of the keys of one message, in bytes, which keeps its headers below 64 KiB.
const MAX_KEYS: usize = 60_000;

/// Publishes an event to the nodes that follow its keys.
pub(crate) struct Notifier {
    publisher: Arc<Publisher>,
    signer: Arc<Signer>,
    layout: Layout,
}

impl Notifier {
    /// A notifier whose messages are signed and named by these rules.
    pub(crate) fn new(publisher: &Arc<Publisher>, signer: &Arc<Signer>, layout: &Layout) -> Self {
        let (publisher, signer) = (Arc::clone(publisher), Arc::clone(signer));
        Self { publisher, signer, layout: layout.clone() }
    }

    /// Notifies every node that follows one of the event's keys, this node included. A failure is
    /// logged: notifications are at most once.
    pub(crate) async fn notify(&self, bus: &BusDefinition, outgoing: &Outgoing, payload: &Payload) {
        if outgoing.keys.is_empty() {
            return;
        }
        let exchange = self.layout.notifications(bus);
        let publishing = async {
            let messages = self.messages(bus, outgoing, payload)?;
            let each =
                messages.into_iter().map(|message| self.publisher.publish(&exchange, message));
            try_join_all(each).await.map(drop)
        };
        let cause = match timeout(LIMIT, publishing).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("it took longer than {} s", LIMIT.as_secs()),
        };
        let id = outgoing.event.id.as_str();
        tracing::warn!(
            event = id,
            exchange,
            cause,
            "listeners that follow the keys of event {id} may not be notified of it: {cause}"
        );
    }

    /// Messages of one notification. RabbitMQ routes by the `CC` header too, and once to each
    /// queue, so one message carries many keys. James reads one key of each message.
    fn messages(
        &self,
        bus: &BusDefinition,
        outgoing: &Outgoing,
        payload: &Payload,
    ) -> Result<Vec<Publication>, AmqpError> {
        let limit = if bus.attached { 0 } else { MAX_KEYS };
        let pieces = pieces(&outgoing.keys, limit).into_iter();
        pieces.map(|keys| self.message(bus, outgoing, payload, &keys)).collect()
    }

    fn message(
        &self,
        bus: &BusDefinition,
        outgoing: &Outgoing,
        payload: &Payload,
        keys: &[&RegistrationKey],
    ) -> Result<Publication, AmqpError> {
        let content_type = match (bus.attached, bus.codec) {
            (true, Codec::James) => "text/plain",
            _ => payload.content_type,
        };
        let mut headers = self.signer.sign(bus, outgoing.kept_by.as_deref());
        if !bus.attached {
            let more = keys[1..].iter().map(|key| key.as_str()).chain([routing_keys::EVERY]);
            let copies: Vec<_> = more.map(|key| AMQPValue::LongString(key.into())).collect();
            headers.insert("CC".into(), AMQPValue::FieldArray(FieldArray::from(copies)));
        }
        let mut properties =
            BasicProperties::default().with_content_type(name(content_type)?).with_headers(headers);
        if bus.attached {
            properties = properties.with_delivery_mode(PERSISTENT).with_priority(0);
        }
        let body = Arc::clone(&payload.body);
        Ok(Publication::new(name(keys[0].as_str())?, body, properties).optional())
    }
}

/// Cuts keys into pieces of at most `limit` bytes, but of at least one key.
fn pieces(keys: &BTreeSet<RegistrationKey>, limit: usize) -> Vec<Vec<&RegistrationKey>> {
    let mut pieces: Vec<Vec<&RegistrationKey>> = Vec::new();
    let mut size = 0;
    for key in keys {
        // A string in a header's array has one byte for its type and four for its length.
        let own = key.as_str().len() + 5;
        size += own;
        match pieces.last_mut() {
            Some(piece) if size <= limit => piece.push(key),
            _ => {
                size = own;
                pieces.push(vec![key]);
            }
        }
    }
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_into_pieces_whose_headers_stay_small() {
        let keys: BTreeSet<_> =
            (0..5).map(|n| RegistrationKey::parse(format!("key{n}")).unwrap()).collect();
        let sizes = |limit| pieces(&keys, limit).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(0), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(18), [2, 2, 1]);
        assert_eq!(sizes(MAX_KEYS), [5]);
        let joined: Vec<_> = pieces(&keys, 18).concat();
        assert_eq!(joined, keys.iter().collect::<Vec<_>>());
        assert!(pieces(&BTreeSet::new(), 18).is_empty());
    }
}
