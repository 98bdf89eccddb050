//! A parked message and its dead letter.

use super::origin;
use crate::{
    bus::{
        codec,
        rabbitmq::{
            headers,
            keeping::{FailureOccasion, entry_id},
        },
    },
    domain::{
        dead_letter::{DeadLetter, FailureFacts},
        layout::Layout,
        name::{BusName, GroupName},
    },
};
use lapin::{message::Delivery, types::ShortString};
use time::OffsetDateTime;

/// A message that no listener could take.
pub(super) struct Parked<'a> {
    bus: &'a BusName,
    delivery: &'a Delivery,
    /// The group that the message was for, where the message says.
    origin: Option<GroupName>,
    cause: String,
}

impl<'a> Parked<'a> {
    /// Reads where the message comes from.
    pub(super) fn read(layout: &Layout, bus: &'a BusName, delivery: &'a Delivery) -> Self {
        let origin = origin::group(layout, bus, delivery);
        Self { bus, delivery, origin, cause: origin::cause(layout, bus, delivery) }
    }

    /// The group that the message was for, where the message says.
    pub(super) fn origin(&self) -> Option<&GroupName> {
        self.origin.as_ref()
    }

    /// The dead letter. The same message has the same id on every node.
    pub(super) fn dead_letter(&self, node: &str, now: OffsetDateTime) -> DeadLetter {
        let (properties, body) = (&self.delivery.properties, &self.delivery.data);
        let content_type = properties.content_type().as_ref().map(ShortString::as_str);
        let event = codec::decode(content_type, body).ok();
        let occasion = FailureOccasion::of(properties);
        let group = self.origin.as_ref().map_or("", GroupName::as_str).as_bytes();
        let message = properties.message_id().as_ref().map_or("", ShortString::as_str).as_bytes();
        let bus = self.bus.as_str().as_bytes();
        let facts = FailureFacts {
            id: entry_id([bus, group, message, body, &occasion.time, &occasion.previous]),
            bus: self.bus.clone(),
            content_type: content_type.map(str::to_owned),
            cause: self.cause.clone(),
            attempts: headers::attempt(properties),
            first_failed_at: self.first_failed_at(),
            last_failed_at: now,
            node: node.to_owned(),
            previous: headers::id(properties, headers::PREVIOUS),
        };
        DeadLetter::parked(self.origin.clone(), event.as_ref(), facts)
    }

    /// Time of the first failure: by hearken's header, else when the broker dead-lettered the
    /// message, else when the message was published.
    fn first_failed_at(&self) -> Option<OffsetDateTime> {
        let properties = &self.delivery.properties;
        let seconds = origin::died_at(properties).or(*properties.timestamp());
        let by_broker = || OffsetDateTime::from_unix_timestamp(i64::try_from(seconds?).ok()?).ok();
        headers::first_failed_at(properties).or_else(by_broker)
    }
}
