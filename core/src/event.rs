//! Event, as a listener sees it. It has the same value in every form on the wire.

use serde_json::value::RawValue;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// An immutable event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Identity of the event, given by its producer.
    pub id: String,
    /// Name of the event's type.
    pub kind: String,
    /// Origin of the event (CloudEvents `source`).
    pub source: String,
    /// User that the event is about, if it is about a user.
    pub user: Option<String>,
    /// Time of the event, if its producer gives a time.
    pub time: Option<OffsetDateTime>,
    /// Whether the event has no effect. Such an event is delivered to no listener.
    pub noop: bool,
    /// Data of the event.
    pub data: Data,
    /// Further attributes (CloudEvents: `subject`, `dataschema`, extensions), by name.
    pub attributes: BTreeMap<String, String>,
}

/// Data of an event.
#[derive(Debug, Clone)]
pub enum Data {
    /// No data.
    None,
    /// JSON, byte for byte as it was received.
    Json(Box<RawValue>),
    /// Any other data.
    Bytes {
        /// Media type of the data, if the producer gives it.
        content_type: Option<String>,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// Origin of every event of James (CloudEvents `source`).
pub const JAMES_SOURCE: &str = "urn:apache:james";
