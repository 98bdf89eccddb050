//! Forms in which an event travels.
//!
//! An event is read by its content type, and written in the form of its bus's [`Codec`]. Every form
//! keeps the data of an event byte for byte.
//!
//! | content type | form |
//! |---|---|
//! | `application/cloudevents+json` | hearken's own form: CloudEvents 1.0, structured JSON |
//! | `application/cloudevents-batch+json` | a JSON array of such events |
//! | `application/cloudevents+msgpack` | the compact form |
//! | none, `text/plain`, `application/json` | the JSON of James, as James publishes it |

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

/// Media type of one `CloudEvent` in structured JSON.
pub const CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// Media type of a JSON array of CloudEvents.
pub const CLOUDEVENTS_BATCH_JSON: &str = "application/cloudevents-batch+json";

/// Media type of one `CloudEvent` in `MessagePack`.
pub const CLOUDEVENTS_MSGPACK: &str = "application/cloudevents+msgpack";

/// Media type with which James writes its JSON.
const JAMES: &str = "text/plain";

/// Largest body that is read or written, in bytes. RabbitMQ 4 has the same limit for messages by
/// default (`max_message_size`, 16 MiB).
pub const MAX_BYTES: usize = 16 * 1024 * 1024;

/// Longest id, source or type, in bytes. These become headers, log fields and database keys.
pub const MAX_ATTRIBUTE: usize = 1024;

/// Reason why bytes are not an event. The messages say what is wrong and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The body is larger than [`MAX_BYTES`].
    #[error("the body has {0} bytes; at most {MAX_BYTES} are read")]
    TooLarge(usize),
    /// No form of events has this content type.
    #[error(
        "no form of events has content type {0:?}; use {CLOUDEVENTS_JSON}, {CLOUDEVENTS_BATCH_JSON}, {CLOUDEVENTS_MSGPACK}, or application/json for the JSON of James"
    )]
    ContentType(String),
    /// The body is not JSON, or is JSON that is refused.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// The body is not `MessagePack`, or is `MessagePack` that is refused.
    #[error("not an event in MessagePack: at byte {at} {problem}")]
    MsgPack {
        /// Position of the byte, from 0.
        at: usize,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// The JSON does not have the shape of an event.
    #[error("{0}")]
    Shape(String),
    /// An attribute is missing or wrong.
    #[error("attribute {name:?} {problem}")]
    Attribute {
        /// Name of the attribute.
        name: String,
        /// What is wrong, and what would be right.
        problem: String,
    },
    /// One event of a batch is wrong.
    #[error("event {index} of the batch: {problem}")]
    InBatch {
        /// Position of the event in the batch, from 0.
        index: usize,
        /// What is wrong with the event.
        problem: String,
    },
}

/// Reason why an event cannot be written in the form of a bus. The messages say what would be
/// right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The written event is larger than [`MAX_BYTES`].
    #[error("the event has {0} bytes in the form of its bus; at most {MAX_BYTES} are allowed")]
    TooLarge(usize),
    /// James would not read the data as this event.
    #[error(
        "the bus carries the JSON of James, and {problem}; the event's data must be the JSON of one event of James with the same id and type"
    )]
    NotJames {
        /// What is wrong with the event.
        problem: String,
    },
}

/// An event in the form in which it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Content type, by which the form is known.
    pub content_type: &'static str,
    /// The bytes.
    pub body: Vec<u8>,
}

/// Writes an event in the form of a bus. The written bytes read back as the same event, except that
/// the form of James carries only the data: other attributes of the event are lost.
///
/// # Errors
/// [`EncodeError`]: the event is too large, or the form cannot carry it.
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
/// [`DecodeError`], also when the body is a batch that does not have exactly one event.
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

/// Reads one event, or the events of a batch in their order. An empty batch is not an error.
///
/// # Errors
/// [`DecodeError`]: the whole body is refused when one of its events is wrong.
pub fn decode_all(content_type: Option<&str>, body: &[u8]) -> Result<Vec<Event>, DecodeError> {
    if body.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge(body.len()));
    }
    match content_type.map(essence).unwrap_or_default().as_str() {
        "" | "text/plain" | "application/json" => {
            let value = json::strict(body)?;
            match value {
                Value::Array(values) => decode_batch(body, &values, james::event),
                single => Ok(vec![james::event(raw(body)?, &single)?]),
            }
        }
        CLOUDEVENTS_JSON => Ok(vec![structured::event(raw(body)?, &json::strict(body)?)?]),
        CLOUDEVENTS_MSGPACK => Ok(vec![msgpack::event(body)?]),
        CLOUDEVENTS_BATCH_JSON => match json::strict(body)? {
            Value::Array(values) => decode_batch(body, &values, structured::event),
            other => {
                Err(shape(format!("a batch is a JSON array of CloudEvents, not {}", name(&other))))
            }
        },
        other => Err(DecodeError::ContentType(shortened(other))),
    }
}

fn decode_batch(
    body: &[u8],
    values: &[Value],
    read: fn(&RawValue, &Value) -> Result<Event, DecodeError>,
) -> Result<Vec<Event>, DecodeError> {
    let bodies: Vec<&RawValue> = serde_json::from_slice(body).map_err(unreadable)?;
    let decode_numbered = |(index, (body, value)): (usize, (&&RawValue, &Value))| {
        read(body, value)
            .map_err(|error| DecodeError::InBatch { index, problem: error.to_string() })
    };
    bodies.iter().zip(values).enumerate().map(decode_numbered).collect()
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

/// Makes the data of an event from bytes whose media type is an attribute of the event. JSON keeps
/// the attribute, which may name a special kind of JSON. For any other media type, the attribute
/// moves into the data.
fn carried(attributes: &mut BTreeMap<String, String>, bytes: Vec<u8>) -> Result<Data, DecodeError> {
    if attributes.get("datacontenttype").is_some_and(|kind| is_json(kind)) {
        json::strict(&bytes)?;
        return Ok(Data::Json(raw(&bytes)?.to_owned()));
    }
    Ok(Data::Bytes { content_type: attributes.remove("datacontenttype"), bytes })
}

/// Refusal of data that is a JSON value although its media type is not JSON (CloudEvents, "JSON
/// Event Format", 3.1).
fn not_text(found: &str) -> DecodeError {
    let problem = format!(
        "is {found}, and datacontenttype is not a JSON type; such data must be a string, or binary (data_base64 in JSON)"
    );
    attribute("data", problem)
}

/// Kind of a JSON value, for messages.
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
