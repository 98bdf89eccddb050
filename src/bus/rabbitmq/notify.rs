//! Telling those who follow an event's keys.

use super::{Shared, headers, message::PERSISTENT, publisher::Message};
use crate::{
    amqp::{AmqpError, name},
    bus::Outgoing,
    domain::{
        bus::{BusDefinition, Codec},
        name::RegistrationKey,
    },
};
use futures_util::future::try_join_all;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldArray, FieldTable},
};
use std::{collections::BTreeSet, time::Duration};
use tokio::time::timeout;
use uuid::Uuid;

/// Names the process that published a message, so that it knows its own.
const FROM: &str = "x-hearken-from";

/// Names the node that dispatched what is published again.
const KEPT_BY: &str = "x-hearken-kept-by";

/// What James calls the same. It needs it on every notification.
const JAMES_FROM: &str = "eventBusId";

/// A key that every notification on our own exchanges has, for nodes that follow very many.
pub(super) const EVERY_KEY: &str = "hearken:every";

/// How long notifying may take. The event itself is safe by then.
const LIMIT: Duration = Duration::from_secs(5);

/// The most that the keys of one message may weigh, in bytes, so that its headers stay below
/// 64 KiB.
const MAX_KEYS: usize = 60_000;

impl Shared {
    /// The headers that say where a message comes from. What is published again comes from the node
    /// that kept it: only there have the synchronous listeners run.
    pub(super) fn signature(&self, bus: &BusDefinition, kept_by: Option<&str>) -> FieldTable {
        let mut headers = FieldTable::default();
        let mut says = |name: &str, text: String| {
            headers.insert(name.into(), AMQPValue::LongString(text.into()));
        };
        let instance = kept_by.map_or(self.notifications.instance, |_| Uuid::new_v4());
        says(if bus.attached { JAMES_FROM } else { FROM }, instance.to_string());
        if let Some(node) = kept_by.filter(|_| !bus.attached) {
            says(KEPT_BY, node.to_owned());
        }
        headers
    }

    /// Whether this node's synchronous listeners ran before a message was published.
    pub(super) fn ran_inline(&self, properties: &BasicProperties) -> bool {
        is_from(self.notifications.instance, &self.node, properties)
    }

    /// Tells the nodes where somebody follows one of the event's keys, this node too. `body` is
    /// the event in the form that `content_type` names. What fails is logged: whoever follows a
    /// key is told at most once.
    pub(super) async fn notify(
        &self,
        bus: &BusDefinition,
        body: &[u8],
        content_type: &str,
        outgoing: &Outgoing,
    ) {
        if outgoing.keys.is_empty() {
            return;
        }
        let exchange = self.layout.notifications(bus);
        let publishing = async {
            let messages = self.notifications(bus, body, content_type, outgoing)?;
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
            "those who follow the keys of event {id} may not hear of it: {cause}"
        );
    }

    /// The messages of a notification. RabbitMQ routes by the `CC` header too, and once to each
    /// queue, so one message does for all keys; James knows one message for each.
    fn notifications(
        &self,
        bus: &BusDefinition,
        body: &[u8],
        content_type: &str,
        Outgoing { keys, kept_by, .. }: &Outgoing,
    ) -> Result<Vec<Message>, AmqpError> {
        let content_type = match (bus.attached, bus.codec) {
            (true, Codec::James) => "text/plain",
            _ => content_type,
        };
        let limit = if bus.attached { 0 } else { MAX_KEYS };
        let message = |keys: Vec<&RegistrationKey>| {
            let mut headers = self.signature(bus, kept_by.as_deref());
            if !bus.attached {
                let more = keys[1..].iter().map(|key| key.as_str()).chain([EVERY_KEY]);
                let copies: Vec<_> = more.map(|key| AMQPValue::LongString(key.into())).collect();
                headers.insert("CC".into(), AMQPValue::FieldArray(FieldArray::from(copies)));
            }
            let mut properties = BasicProperties::default()
                .with_content_type(name(content_type)?)
                .with_headers(headers);
            if bus.attached {
                properties = properties.with_delivery_mode(PERSISTENT).with_priority(0);
            }
            Ok(Message::new(name(keys[0].as_str())?, body.to_vec(), properties).optional())
        };
        pieces(keys, limit).into_iter().map(message).collect()
    }
}

/// Cuts keys into pieces of one key at least, and of no more than `limit` bytes else.
fn pieces(keys: &BTreeSet<RegistrationKey>, limit: usize) -> Vec<Vec<&RegistrationKey>> {
    let mut pieces: Vec<Vec<&RegistrationKey>> = Vec::new();
    let mut weight = 0;
    for key in keys {
        // A string in a header's array has a byte for its type and four for its length.
        let own = key.as_str().len() + 5;
        weight += own;
        match pieces.last_mut() {
            Some(piece) if weight <= limit => piece.push(key),
            _ => {
                weight = own;
                pieces.push(vec![key]);
            }
        }
    }
    pieces
}

/// Whether a process published a message, or a node kept it.
fn is_from(instance: Uuid, node: &str, properties: &BasicProperties) -> bool {
    let is = |name| headers::id(properties, name) == Some(instance);
    is(FROM) || is(JAMES_FROM) || headers::text(properties, KEPT_BY).is_some_and(|by| by == node)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_cut_where_the_headers_would_grow_too_large() {
        let keys: BTreeSet<_> =
            (0..5).map(|n| RegistrationKey::parse(format!("key{n}")).unwrap()).collect();
        let sizes = |limit| pieces(&keys, limit).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!(sizes(0), [1, 1, 1, 1, 1]);
        assert_eq!(sizes(18), [2, 2, 1]);
        assert_eq!(sizes(MAX_KEYS), [5]);
        let all: Vec<_> = pieces(&keys, 18).concat();
        assert_eq!(all, keys.iter().collect::<Vec<_>>());
        assert!(pieces(&BTreeSet::new(), 18).is_empty());
    }

    #[test]
    fn a_process_knows_its_own_messages() {
        let instance = Uuid::from_u128(7);
        for (header, value, ours) in [
            (FROM, AMQPValue::LongString(instance.to_string().into()), true),
            (JAMES_FROM, AMQPValue::LongString(instance.to_string().into()), true),
            (FROM, AMQPValue::LongString(Uuid::from_u128(8).to_string().into()), false),
            (FROM, AMQPValue::LongString("poison".into()), false),
            (FROM, AMQPValue::LongInt(7), false),
            (KEPT_BY, AMQPValue::LongString("n1".into()), true),
            (KEPT_BY, AMQPValue::LongString("n2".into()), false),
        ] {
            let mut headers = FieldTable::default();
            headers.insert(header.into(), value);
            let properties = BasicProperties::default().with_headers(headers);
            assert_eq!(is_from(instance, "n1", &properties), ours);
        }
        assert!(!is_from(instance, "n1", &BasicProperties::default()));
    }
}
