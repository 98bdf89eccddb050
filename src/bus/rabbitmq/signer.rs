//! Signatures of messages: which process published a message.

use super::headers;
use crate::domain::bus::BusDefinition;
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable},
};
use uuid::Uuid;

/// Signs what this process publishes, and recognises what it published.
///
/// The synchronous listeners of a node run before the node publishes an event. When the event
/// comes back to the node, they must not run again.
pub(super) struct Signer {
    /// This process.
    instance: Uuid,
    /// This node, in all its processes.
    node: String,
}

impl Signer {
    /// A signer of this process.
    pub(super) fn new(node: &str) -> Self {
        Self { instance: Uuid::new_v4(), node: node.to_owned() }
    }

    /// Identity of this process.
    pub(super) fn instance(&self) -> Uuid {
        self.instance
    }

    /// Headers that name the process where the synchronous listeners have run. An event that was
    /// kept in the database and is published again names the node that kept it, and no process.
    pub(super) fn sign(&self, bus: &BusDefinition, kept_by: Option<&str>) -> FieldTable {
        let mut headers = FieldTable::default();
        let mut set = |name: &str, text: String| {
            headers.insert(name.into(), AMQPValue::LongString(text.into()));
        };
        // James's consumers fail on a message without this header, so it is never left out.
        let instance = kept_by.map_or(self.instance, |_| Uuid::new_v4());
        set(if bus.attached { headers::JAMES_FROM } else { headers::FROM }, instance.to_string());
        if let Some(node) = kept_by.filter(|_| !bus.attached) {
            set(headers::KEPT_BY, node.to_owned());
        }
        headers
    }

    /// Whether this node's synchronous listeners ran before the message was published.
    pub(super) fn ran_inline(&self, properties: &BasicProperties) -> bool {
        let names_us = |name| headers::id(properties, name) == Some(self.instance);
        let kept_by = headers::text(properties, headers::KEPT_BY);
        names_us(headers::FROM)
            || names_us(headers::JAMES_FROM)
            || kept_by.is_some_and(|node| node == self.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_recognises_its_own_messages_and_those_that_its_node_kept() {
        let ours = Signer { instance: Uuid::from_u128(7), node: "n1".into() };
        for (header, value, expected) in [
            (headers::FROM, AMQPValue::LongString(ours.instance.to_string().into()), true),
            (headers::JAMES_FROM, AMQPValue::LongString(ours.instance.to_string().into()), true),
            (headers::FROM, AMQPValue::LongString(Uuid::from_u128(8).to_string().into()), false),
            (headers::FROM, AMQPValue::LongString("poison".into()), false),
            (headers::FROM, AMQPValue::LongInt(7), false),
            (headers::KEPT_BY, AMQPValue::LongString("n1".into()), true),
            (headers::KEPT_BY, AMQPValue::LongString("n2".into()), false),
        ] {
            let mut headers = FieldTable::default();
            headers.insert(header.into(), value);
            let properties = BasicProperties::default().with_headers(headers);
            assert_eq!(ours.ran_inline(&properties), expected);
        }
        assert!(!ours.ran_inline(&BasicProperties::default()));
    }
}
