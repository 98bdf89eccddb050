//! The forms in which an event travels.
//!
//! Reading goes by content type. `application/cloudevents+json` is hearken's own form (CloudEvents
//! 1.0, structured JSON), `application/cloudevents-batch+json` several of them,
//! `application/cloudevents+msgpack` its compact form. Without a content type, or with `text/plain`
//! or `application/json`, the body is James's JSON, as James publishes it. What an event carries is
//! kept byte for byte in every form.
//!
//! Writing goes by the bus's [`Codec`].

mod attributes;
mod binary;
mod james;
mod msgpack;
mod structured;

#[cfg(test)]
mod tests;

use super::event::{Data, Event};
use crate::{
    domain::bus::Codec,
    json::{self, JsonError},
};
use attributes::shortened;
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

pub use binary::from_binary;
pub use structured::encode_cloudevent;

/// The media type of one `CloudEvent` in structured JSON.
pub const CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// The media type of a JSON array of CloudEvents.
pub const CLOUDEVENTS_BATCH_JSON: &str = "application/cloudevents-batch+json";

/// The media type of one `CloudEvent` in `MessagePack`.
pub const CLOUDEVENTS_MSGPACK: &str = "application/cloudevents+msgpack";

/// The media type that James writes its JSON with.
const JAMES: &str = "text/plain";

/// The largest body that is read or written, in bytes: what RabbitMQ 4 takes as a message by
/// default (`max_message_size`, 16 MiB).
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// The longest id, source or type, in bytes. They become headers, log fields and database keys.
pub const MAX_ATTRIBUTE: usize = 1024;

/// Why bytes are not an event. The texts say what was wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Larger than anything that is read.
    #[error("the body has {0} bytes; at most {MAX_BYTES} are read")]
    TooLarge(usize),
    /// No form of events has this media type.
    #[error(
        "content type {0:?} is not one that events come in; use {CLOUDEVENTS_JSON}, {CLOUDEVENTS_BATCH_JSON}, {CLOUDEVENTS_MSGPACK}, or application/json for the JSON of James"
    )]
    ContentType(String),
    /// Not JSON, or JSON that is refused.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// Not `MessagePack`, or `MessagePack` that is refused.
    #[error("not an event in MessagePack: at byte {at} {problem}")]
    MsgPack {
        /// Where, from 0.
        at: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// JSON of another shape than an event's.
    #[error("{0}")]
    Shape(String),
    /// An attribute is missing or wrong.
    #[error("attribute {name:?} {problem}")]
    Attribute {
        /// The attribute.
        name: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// One event of a batch is wrong.
    #[error("event {index} of the batch: {problem}")]
    InBatch {
        /// Which one, from 0.
        index: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// Why an event cannot be written in a bus's form. The texts say what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Larger than anything that is read.
    #[error("the event has {0} bytes as it would travel; it has at most {MAX_BYTES}")]
    TooLarge(usize),
    /// James would not read it as this event.
    #[error(
        "the bus carries the JSON of James, and {problem}; the event's data must be the JSON of one event of James with the same id and type"
    )]
    NotJames {
        /// What is wrong with it.
        problem: String,
    },
}

/// An event as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// The form, by which it is read.
    pub content_type: &'static str,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Writes an event in a bus's form. What is written reads back as the same event; in James's form
/// only what James knows of it travels: attributes beside the data do not.
///
/// # Errors
/// [`EncodeError`]: the event is too large, or is not one that the form can carry.
pub fn encode(codec: Codec, event: &Event) -> Result<Encoded, EncodeError> {
    let encoded = match codec {
        Codec::Json => Encoded { content_type: CLOUDEVENTS_JSON, body: encode_cloudevent(event) },
        Codec::MsgPack => {
            Encoded { content_type: CLOUDEVENTS_MSGPACK, body: msgpack::encode(event) }
        }
        Codec::James => Encoded { content_type: JAMES, body: james::encode(event)? },
    };
    match encoded.body.len() {
        ..=MAX_BYTES => Ok(encoded),
        more => Err(EncodeError::TooLarge(more)),
    }
}

/// Reads exactly one event.
///
/// # Errors
/// [`DecodeError`], also when the body is a batch of none or several.
pub fn decode(content_type: Option<&str>, body: &[u8]) -> Result<Event, DecodeError> {
    let mut events = decode_all(content_type, body)?;
    match (events.pop(), events.len()) {
        (Some(event), 0) => Ok(event),
        (None, _) => Err(shape("the body is an empty batch; one event is expected")),
        (Some(_), others) => {
            Err(shape(format!("the body is a batch of {}; one event is expected", others + 1)))
        }
    }
}

/// Reads one event or a batch of them, in the order of the batch. An empty batch is no event and
/// no error.
///
/// # Errors
/// [`DecodeError`]: the whole body is refused when one event of it is wrong.
pub fn decode_all(content_type: Option<&str>, body: &[u8]) -> Result<Vec<Event>, DecodeError> {
    if body.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge(body.len()));
    }
    match content_type.map(essence).unwrap_or_default().as_str() {
        "" | "text/plain" | "application/json" => {
            let value = json::strict(body)?;
            match value {
                Value::Array(values) => each(body, &values, james::event),
                one => Ok(vec![james::event(raw(body)?, &one)?]),
            }
        }
        CLOUDEVENTS_JSON => Ok(vec![structured::event(raw(body)?, &json::strict(body)?)?]),
        CLOUDEVENTS_MSGPACK => Ok(vec![msgpack::event(body)?]),
        CLOUDEVENTS_BATCH_JSON => match json::strict(body)? {
            Value::Array(values) => each(body, &values, structured::event),
            other => {
                Err(shape(format!("a batch is a JSON array of CloudEvents, not {}", name(&other))))
            }
        },
        other => Err(DecodeError::ContentType(shortened(other))),
    }
}

fn each(
    body: &[u8],
    values: &[Value],
    read: fn(&RawValue, &Value) -> Result<Event, DecodeError>,
) -> Result<Vec<Event>, DecodeError> {
    let bodies: Vec<&RawValue> = serde_json::from_slice(body).map_err(unreadable)?;
    let one = |(index, (body, value)): (usize, (&&RawValue, &Value))| {
        read(body, value)
            .map_err(|error| DecodeError::InBatch { index, problem: error.to_string() })
    };
    bodies.iter().zip(values).enumerate().map(one).collect()
}

fn raw(body: &[u8]) -> Result<&RawValue, DecodeError> {
    serde_json::from_slice(body).map_err(unreadable)
}

#[expect(clippy::needless_pass_by_value, reason = "passed to map_err")]
fn unreadable(error: serde_json::Error) -> DecodeError {
    JsonError::Syntax(error.to_string()).into()
}

/// The media type without its parameters.
fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Whether a media type's content is JSON (RFC 6839, section 3.1, for the suffix).
fn is_json(content_type: &str) -> bool {
    let essence = essence(content_type);
    matches!(essence.as_str(), "application/json" | "text/json") || essence.ends_with("+json")
}

fn shape(problem: impl Into<String>) -> DecodeError {
    DecodeError::Shape(problem.into())
}

fn attribute(name: &str, problem: impl Into<String>) -> DecodeError {
    DecodeError::Attribute { name: shortened(name), problem: problem.into() }
}

/// Bytes as the data of an event whose attributes state their media type, which moves into bytes;
/// that of JSON stays an attribute, because it is only a finer name for JSON.
fn carried(attributes: &mut BTreeMap<String, String>, bytes: Vec<u8>) -> Result<Data, DecodeError> {
    if attributes.get("datacontenttype").is_some_and(|kind| is_json(kind)) {
        json::strict(&bytes)?;
        return Ok(Data::Json(raw(&bytes)?.to_owned()));
    }
    Ok(Data::Bytes { content_type: attributes.remove("datacontenttype"), bytes })
}

/// Data that is a value while its media type is not JSON's (CloudEvents, "JSON Event Format", 3.1).
fn not_text(found: &str) -> DecodeError {
    let problem = format!(
        "is {found}, and datacontenttype is not JSON's; such data is a string, or binary (data_base64 in JSON)"
    );
    attribute("data", problem)
}

/// What kind of JSON a value is, for messages.
fn name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}
