//! Messages that arrive on this node's queue of a bus.

use super::{audience::BusAudience, broadcasts::Broadcasts, routing_keys};
use crate::{
    bus::{codec, rabbitmq::signer::Signer, registry::Audience},
    domain::name::{BusName, RegistrationKey},
};
use lapin::{message::Delivery, types::ShortString};
use std::{collections::BTreeSet, sync::Arc};

/// Hands each message to its readers. A message that cannot be read affects no other message.
pub(super) struct Inbox<'a> {
    pub(super) bus: &'a BusName,
    pub(super) audience: &'a BusAudience,
    pub(super) broadcasts: &'a Broadcasts,
    pub(super) signer: &'a Signer,
    pub(super) probe_key: &'a str,
}

impl Inbox<'_> {
    /// Takes a broadcast, a probe or a notification.
    pub(super) fn take(&self, message: &Delivery) {
        match message.routing_key.as_str() {
            routing_keys::TOPOLOGY => self.broadcasts.receive(self.bus, message),
            key if key == self.probe_key => {
                if self.audience.echo.receive(message) {
                    self.audience.health.proven();
                }
            }
            _ => self.take_notification(message),
        }
    }

    fn take_notification(&self, message: &Delivery) {
        let registry = &self.audience.registry;
        let keys: BTreeSet<_> = (routing_keys::keys_of(message).into_iter())
            .filter_map(|key| RegistrationKey::parse(key).ok())
            .filter(|key| registry.is_followed(key))
            .collect();
        if keys.is_empty() {
            return;
        }
        let content_type = message.properties.content_type().as_ref().map(ShortString::as_str);
        let events = match codec::decode_all(content_type, &message.data) {
            Ok(events) => events,
            Err(error) => {
                let (bus, key) = (self.bus.as_str(), message.routing_key.as_str());
                let cause = error.to_string();
                tracing::warn!(
                    bus,
                    key,
                    cause,
                    "bus {bus} carried a message under key {key} that cannot be read as an event; it is ignored: {cause}"
                );
                return;
            }
        };
        // The synchronous listeners ran before this node's own dispatch returned.
        let ran_inline = self.signer.ran_inline(&message.properties);
        let audience = if ran_inline { Audience::AsyncOnly } else { Audience::All };
        for event in events {
            registry.enqueue(&Arc::new(event), &keys, audience);
        }
    }
}
