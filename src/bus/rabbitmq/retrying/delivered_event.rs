//! An event as it was delivered.

use crate::bus::{
    codec::{self, CLOUDEVENTS_JSON},
    event::Event,
};
use lapin::{BasicProperties, types::ShortString};
use std::borrow::Cow;

/// An event of a delivery, which may carry several. Decides in which form the event travels on.
#[derive(Clone, Copy)]
pub(crate) enum DeliveredEvent<'a> {
    /// The event is the whole message. It travels on byte for byte.
    Alone(&'a Event),
    /// The event is one of several in the message. It travels on as a `CloudEvent` of its own.
    InBatch(&'a Event),
}

impl<'a> DeliveredEvent<'a> {
    /// An event of a delivery that carries these events.
    pub(crate) fn of(event: &'a Event, delivered: &[Event]) -> Self {
        if delivered.len() == 1 { Self::Alone(event) } else { Self::InBatch(event) }
    }

    /// The event.
    pub(crate) fn event(self) -> &'a Event {
        match self {
            Self::Alone(event) | Self::InBatch(event) => event,
        }
    }

    /// The body in which the event travels on.
    pub(super) fn body(self, delivered: &[u8]) -> Cow<'_, [u8]> {
        match self {
            Self::Alone(_) => Cow::Borrowed(delivered),
            Self::InBatch(event) => Cow::Owned(codec::encode_cloudevent(event)),
        }
    }

    /// The media type of that body.
    pub(super) fn content_type(self, delivered: &BasicProperties) -> Option<String> {
        match self {
            Self::Alone(_) => delivered.content_type().as_ref().map(ShortString::to_string),
            Self::InBatch(_) => Some(CLOUDEVENTS_JSON.to_owned()),
        }
    }

    /// The properties with the media type of that body.
    pub(super) fn with_content_type(self, properties: BasicProperties) -> BasicProperties {
        match self {
            Self::Alone(_) => properties,
            Self::InBatch(_) => properties.with_content_type(CLOUDEVENTS_JSON.into()),
        }
    }
}
