//! The forms in which an event travels.
//!
//! Reading goes by content type. `application/cloudevents+json` is hearken's own form (CloudEvents
//! 1.0, structured JSON), `application/cloudevents-batch+json` several of them. Without a content
//! type, or with `text/plain` or `application/json`, the body is James's JSON, as James publishes
//! it. What an event carries is kept byte for byte in every form.

mod binary;
mod james;
mod structured;

#[cfg(test)]
mod tests;

use super::event::{Data, Event};
use crate::json::{self, JsonError};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub use binary::from_binary;
pub use structured::encode_cloudevent;

/// The media type of one `CloudEvent` in structured JSON.
pub const CLOUDEVENTS_JSON: &str = "application/cloudevents+json";

/// The media type of a JSON array of CloudEvents.
pub const CLOUDEVENTS_BATCH_JSON: &str = "application/cloudevents-batch+json";

/// The largest body that is read, in bytes: what RabbitMQ 4 takes as a message by default
/// (`max_message_size`, 16 MiB).
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
        "content type {0:?} is not one that events come in; use {CLOUDEVENTS_JSON}, {CLOUDEVENTS_BATCH_JSON}, or application/json for the JSON of James"
    )]
    ContentType(String),
    /// Not JSON, or JSON that is refused.
    #[error(transparent)]
    Json(#[from] JsonError),
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

fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
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

/// Checks a text that identifies something: not empty, not endless, without control characters
/// (which CloudEvents 1.0, section 2.2, keeps out of every attribute).
fn identifying(name: &str, text: String) -> Result<String, DecodeError> {
    if text.is_empty() {
        return Err(attribute(name, "is empty; it must not be"));
    }
    if text.len() > MAX_ATTRIBUTE {
        let problem = format!("has {} bytes; it has at most {MAX_ATTRIBUTE}", text.len());
        return Err(attribute(name, problem));
    }
    printable(name, text)
}

fn printable(name: &str, text: String) -> Result<String, DecodeError> {
    if text.chars().any(char::is_control) {
        return Err(attribute(name, "has a control character; it must have none"));
    }
    Ok(text)
}

/// Whether CloudEvents allows an attribute of this name (section 3, naming conventions).
fn is_attribute_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name != "data" && name.bytes().all(allowed)
}

/// Makes an event of CloudEvents attributes, whichever way they came.
fn assemble(mut attributes: BTreeMap<String, String>, data: Data) -> Result<Event, DecodeError> {
    for (name, value) in &attributes {
        if !is_attribute_name(name) {
            let problem = "has a name that CloudEvents does not allow; names are lower-case ASCII letters and digits";
            return Err(attribute(name, problem));
        }
        printable(name, value.clone())?;
    }
    let mut required = |name: &str, example: &str| match attributes.remove(name) {
        Some(value) => identifying(name, value),
        None => Err(attribute(name, format!("is missing; a CloudEvent has it, such as {example}"))),
    };
    let version = required("specversion", "\"1.0\"")?;
    if version != "1.0" {
        return Err(attribute("specversion", format!("is {version:?}; it must be \"1.0\"")));
    }
    let id = required("id", "\"6e0dd59d-660e-4d9b-b22f-0354479f47b4\"")?;
    let source = required("source", "\"urn:example:mail\"")?;
    let kind = required("type", "\"MessageAdded\"")?;
    let time = attributes.remove("time").map(|text| rfc3339(&text)).transpose()?;
    let user = attributes.remove("user").filter(|user| !user.is_empty());
    let noop = match attributes.remove("noop").as_deref() {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(attribute("noop", "must be true or false")),
    };
    Ok(Event { id, kind, source, user, time, noop, data, attributes })
}

fn rfc3339(text: &str) -> Result<OffsetDateTime, DecodeError> {
    OffsetDateTime::parse(text, &Rfc3339).map_err(|_| {
        let problem = "is not a time of RFC 3339; write it as 2018-12-14T09:41:51.541Z";
        attribute("time", problem)
    })
}
