//! The JSON of Apache James.
//!
//! The mailbox bus wraps an event in an object with one field named after its type; the JMAP bus
//! writes a flat object whose `type` names a class. Only the fields that every event has are read,
//! so a type that a later James adds is read as well. Each element of a batch (a JSON array) is an
//! event.

use super::{
    DecodeError, EncodeError, attribute,
    attributes::{identifying, shortened},
    decode, name, shape,
};
use crate::event::{Data, Event, JAMES_SOURCE};
use serde_json::{Map, Value, value::RawValue};
use std::collections::{BTreeMap, BTreeSet};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const FORMS: &str = "an event of James is {\"<type>\": {\"eventId\": …}} or {\"type\": \"<class>\", \"eventId\": …}; a CloudEvent has content type application/cloudevents+json";

pub(super) fn event(body: &RawValue, value: &Value) -> Result<Event, DecodeError> {
    let Value::Object(object) = value else {
        return Err(shape(format!("the body is {}; {FORMS}", name(value))));
    };
    let (kind, fields) = kind_and_fields(object)?;
    let kind = identifying("type", kind.to_owned())?;
    let id = match fields.get("eventId") {
        Some(Value::String(id)) => identifying("eventId", id.clone())?,
        Some(other) => {
            return Err(attribute("eventId", format!("is {}; it must be a string", name(other))));
        }
        None => return Err(attribute("eventId", format!("is missing; {FORMS}"))),
    };
    let text = |name: &str| fields.get(name).and_then(Value::as_str).filter(|t| !t.is_empty());
    Ok(Event {
        id,
        source: JAMES_SOURCE.to_owned(),
        // A user with a control character could not be written as an attribute. The data keeps it.
        user: (text("user").or_else(|| text("username")))
            .filter(|user| !user.chars().any(char::is_control))
            .map(str::to_owned),
        time: text("time").and_then(|time| OffsetDateTime::parse(time, &Rfc3339).ok()),
        noop: is_noop(&kind, fields),
        kind,
        data: Data::Json(body.to_owned()),
        attributes: BTreeMap::new(),
    })
}

/// The event's data, if James would read it as this event.
pub(super) fn encode(event: &Event) -> Result<Vec<u8>, EncodeError> {
    let refused = |problem: String| Err(EncodeError::NotJames { problem });
    let body = match &event.data {
        Data::Json(body) => body.get().as_bytes(),
        Data::None => return refused("the event has no data".into()),
        Data::Bytes { .. } => return refused("the event's data is not JSON".into()),
    };
    match decode(None, body) {
        Err(error) => refused(format!("the event's data is not an event of James: {error}")),
        Ok(inner) if inner.id != event.id => {
            let (inner, outer) = (shortened(&inner.id), shortened(&event.id));
            refused(format!("the event's id is {outer:?} while its data says {inner:?}"))
        }
        Ok(inner) if inner.kind != event.kind => {
            let (inner, outer) = (shortened(&inner.kind), shortened(&event.kind));
            refused(format!("the event's type is {outer:?} while its data says {inner:?}"))
        }
        Ok(_) => Ok(body.to_vec()),
    }
}

fn kind_and_fields(
    object: &Map<String, Value>,
) -> Result<(&str, &Map<String, Value>), DecodeError> {
    let mut fields = object.iter();
    if let (Some((kind, Value::Object(inner))), None) = (fields.next(), fields.next()) {
        return Ok((kind, inner));
    }
    match object.get("type") {
        Some(Value::String(kind)) => Ok((kind, object)),
        Some(other) => {
            Err(attribute("type", format!("is {}; it must name a class; {FORMS}", name(other))))
        }
        None => Err(shape(format!("the object has no type; {FORMS}"))),
    }
}

/// Whether James would deliver the event to no listener (`Event.isNoop`). An event with a missing
/// field is delivered, because a missing field proves nothing.
fn is_noop(kind: &str, fields: &Map<String, Value>) -> bool {
    let empty = |name: &str| fields.get(name).and_then(Value::as_object).is_some_and(Map::is_empty);
    let same = |fields: &Map<String, Value>, old: &str, new: &str| {
        fields.get(old).is_some_and(|old| fields.get(new) == Some(old))
    };
    match kind {
        "Added" => empty("added"),
        "Expunged" => empty("expunged"),
        "FlagsUpdated" => fields
            .get("updatedFlags")
            .and_then(Value::as_array)
            .is_some_and(|updates| updates.iter().all(|update| !flags_differ(update))),
        "MailboxRenamed" => same(fields, "path", "newPath"),
        "MailboxACLUpdated" => fields
            .get("aclDiff")
            .and_then(Value::as_object)
            .is_some_and(|diff| same(diff, "oldACL", "newACL")),
        // The JMAP bus names the class, with or without its package.
        _ if kind.rsplit('.').next() == Some("StateChangeEvent") => has_no_states(fields),
        _ => false,
    }
}

fn flags_differ(update: &Value) -> bool {
    let flags = |which: &str, kind: &str| {
        let names = update.get(which)?.get(kind)?.as_array()?;
        names.iter().map(Value::as_str).collect::<Option<BTreeSet<_>>>()
    };
    ["systemFlags", "userFlags"].into_iter().any(|kind| {
        let (old, new) = (flags("oldFlags", kind), flags("newFlags", kind));
        old.is_none() || old != new
    })
}

/// Whether a `StateChangeEvent` has no states. Earlier versions of James wrote one field for each
/// of three types instead of `typeStates`, and James still reads these fields.
fn has_no_states(fields: &Map<String, Value>) -> bool {
    match fields.get("typeStates") {
        Some(states) => states.as_object().is_some_and(Map::is_empty),
        None => ["emailState", "mailboxState", "vacationResponseState"]
            .iter()
            .all(|old| fields.get(*old).is_none_or(Value::is_null)),
    }
}
