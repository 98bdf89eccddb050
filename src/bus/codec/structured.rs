//! CloudEvents 1.0 in structured JSON (CloudEvents, "JSON Event Format", 1.0.2).

use super::{DecodeError, assemble, attribute, is_attribute_name, is_json, name, shape};
use crate::bus::event::{Data, Event};
use base64::{Engine, engine::general_purpose::STANDARD};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;
use time::format_description::well_known::Rfc3339;

/// Members that the encoder writes itself; an attribute of the same name is left out.
const OWN: [&str; 8] =
    ["specversion", "id", "source", "type", "time", "user", "noop", "datacontenttype"];

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

/// What the event carries. The media type of bytes moves into them; that of JSON stays an
/// attribute, because it is only a finer name for JSON.
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
            Ok(Data::Bytes { content_type: attributes.remove("datacontenttype"), bytes })
        }
        (None, Some(other)) => {
            Err(attribute("data_base64", format!("is {}; it must be a string", name(other))))
        }
        (Some(value), None) => {
            let json = attributes.get("datacontenttype").is_none_or(|kind| is_json(kind));
            if let (Value::String(text), false) = (value, json) {
                let content_type = attributes.remove("datacontenttype");
                return Ok(Data::Bytes { content_type, bytes: text.clone().into_bytes() });
            }
            let members: BTreeMap<String, &RawValue> =
                serde_json::from_str(body.get()).map_err(super::unreadable)?;
            Ok(members.get("data").map_or(Data::None, |raw| Data::Json((*raw).to_owned())))
        }
    }
}

/// Writes an event as one `CloudEvent`, content type [`super::CLOUDEVENTS_JSON`]. JSON data is
/// written byte for byte, anything else as `data_base64`. `user` and `noop` are extension
/// attributes. An attribute whose name CloudEvents does not allow is left out.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "nothing in an event can fail to serialize")]
pub fn encode_cloudevent(event: &Event) -> Vec<u8> {
    serde_json::to_vec(&Structured(event)).expect("texts and JSON values always serialize")
}

struct Structured<'a>(&'a Event);

impl Serialize for Structured<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let event = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("specversion", "1.0")?;
        map.serialize_entry("id", &event.id)?;
        map.serialize_entry("source", &event.source)?;
        map.serialize_entry("type", &event.kind)?;
        if let Some(user) = &event.user {
            map.serialize_entry("user", user)?;
        }
        // RFC 3339 cannot write every time that exists, such as the year 10000.
        if let Some(time) = event.time.and_then(|time| time.format(&Rfc3339).ok()) {
            map.serialize_entry("time", &time)?;
        }
        if event.noop {
            map.serialize_entry("noop", &true)?;
        }
        for (name, value) in &event.attributes {
            if is_attribute_name(name) && !OWN.contains(&name.as_str()) {
                map.serialize_entry(name, value)?;
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
