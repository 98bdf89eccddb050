//! Routing keys of hearken's own messages on a key exchange.

use lapin::{message::Delivery, types::AMQPValue};
use uuid::Uuid;

/// Key of broadcasts that the topology changed.
pub(super) const TOPOLOGY: &str = "hearken:topology";

/// Key that every notification on hearken's own exchanges has, for nodes that follow very many
/// keys.
pub(super) const EVERY: &str = "hearken:every";

/// Key of the probes of a process.
pub(super) fn probe(instance: Uuid) -> String {
    format!("hearken:probe:{instance}")
}

/// Keys of a message: the key that it was published with, and the keys of its `CC` header, by which
/// RabbitMQ routes too.
pub(super) fn keys_of(message: &Delivery) -> Vec<String> {
    let mut keys = vec![message.routing_key.as_str().to_owned()];
    let headers = message.properties.headers().as_ref();
    if let Some(AMQPValue::FieldArray(more)) = headers.and_then(|h| h.inner().get("CC")) {
        keys.extend(more.as_slice().iter().filter_map(|key| match key {
            AMQPValue::LongString(key) => Some(key.to_string()),
            AMQPValue::ShortString(key) => Some(key.as_str().to_owned()),
            _ => None,
        }));
    }
    keys
}
