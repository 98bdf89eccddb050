//! An event as a listener sees it, whatever form it travelled in.

use serde_json::value::RawValue;
use std::collections::BTreeMap;
use time::OffsetDateTime;

/// An immutable event.
#[derive(Debug, Clone)]
pub struct Event {
    /// Its identity, as its producer gave it.
    pub id: String,
    /// Its type's name.
    pub kind: String,
    /// Where it comes from (CloudEvents `source`).
    pub source: String,
    /// The user it is about, where it is about one.
    pub user: Option<String>,
    /// When it happened, where its producer says.
    pub time: Option<OffsetDateTime>,
    /// Whether it says nothing, and is delivered to nobody.
    pub noop: bool,
    /// What it carries.
    pub data: Data,
    /// Further attributes (CloudEvents: `subject`, `dataschema`, extensions), by name.
    pub attributes: BTreeMap<String, String>,
}

/// What an event carries.
#[derive(Debug, Clone)]
pub enum Data {
    /// Nothing.
    None,
    /// JSON, byte for byte as it came.
    Json(Box<RawValue>),
    /// Anything else.
    Bytes {
        /// Its media type, where the producer says.
        content_type: Option<String>,
        /// The bytes.
        bytes: Vec<u8>,
    },
}

/// Where an event of James comes from, as CloudEvents `source`.
pub const JAMES_SOURCE: &str = "urn:apache:james";
