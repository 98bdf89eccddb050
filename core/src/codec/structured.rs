//! CloudEvents 1.0 in structured JSON (CloudEvents, "JSON Event Format", 1.0.2).

use super::{
    DecodeError, attribute,
    attributes::{Written, assemble, written},
    carried, is_json, name, not_text, shape,
};
use crate::event::{Data, Event};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

pub(super) fn event(body: &RawValue, value: &Value) -> Result<Event, DecodeError> {
    let Value::Object(members) = value else {
        return Err(shape(format!("a CloudEvent is a JSON object, not {}", name(value))));
    };
    let mut attributes = BTreeMap::new();
    for (key, value) in members {
        let text = match value {
            _ if key == "data" || key == "data_base64" => continue,
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Bool(flag) => flag.to_string(),
            Value::Number(number) if !number.is_f64() => number.to_string(),
            other => {
                let problem =
                    format!("is {}; it must be a string, a boolean or an integer", name(other));
                return Err(attribute(key, problem));
            }
        };
        attributes.insert(key.clone(), text);
    }
    let data = data(body, members.get("data"), members.get("data_base64"), &mut attributes)?;
    assemble(attributes, data)
}

/// Reads the data of the event.
fn data(
    body: &RawValue,
    data: Option<&Value>,
    encoded: Option<&Value>,
    attributes: &mut BTreeMap<String, String>,
) -> Result<Data, DecodeError> {
    match (data, encoded) {
        (Some(_), Some(_)) => Err(shape("the event has data and data_base64; it may have one")),
        (None, None | Some(Value::Null)) => Ok(Data::None),
        (None, Some(Value::String(text))) => {
            let bytes = STANDARD.decode(text).map_err(|_| {
                attribute("data_base64", "is not base64 (RFC 4648, section 4, with padding)")
            })?;
            carried(attributes, bytes)
        }
        (None, Some(other)) => {
            Err(attribute("data_base64", format!("is {}; it must be a string", name(other))))
        }
        (Some(value), None) => {
            if !attributes.get("datacontenttype").is_none_or(|kind| is_json(kind)) {
                let Value::String(text) = value else { return Err(not_text(name(value))) };
                return carried(attributes, text.clone().into_bytes());
            }
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_str(body.get()).map_err(super::unreadable)?;
            Ok(members.get("data").map_or(Data::None, |raw| Data::Json((*raw).to_owned())))
        }
    }
}

/// Writes an event as one `CloudEvent` with content type [`super::CLOUDEVENTS_JSON`]. JSON data is
/// written byte for byte, other data as `data_base64`. `user` and `noop` are extension attributes.
/// An attribute whose name CloudEvents does not allow is left out.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "an event always serializes")]
pub fn encode_cloudevent(event: &Event) -> Vec<u8> {
    serde_json::to_vec(&Structured(event)).expect("texts and JSON values always serialize")
}

struct Structured<'a>(&'a Event);

impl Serialize for Structured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in written(event) {
            match value {
                Written::Text(text) => map.serialize_entry(name, &text)?,
                Written::Flag(flag) => map.serialize_entry(name, &flag)?,
            }
        }
        let stated = event.attributes.get("datacontenttype");
        let (content_type, data) = match &event.data {
            Data::Bytes { content_type, .. } => (content_type.as_ref(), &event.data),
            data => (stated, data),
        };
        if let Some(content_type) = content_type {
            map.serialize_entry("datacontenttype", content_type)?;
        }
        match data {
            Data::None => {}
            Data::Json(json) => map.serialize_entry("data", json)?,
            Data::Bytes { bytes, .. } => {
                map.serialize_entry("data_base64", &STANDARD.encode(bytes))?;
            }
        }
        map.end()
    }
}
