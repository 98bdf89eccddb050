//! Attributes of a `CloudEvent`, common to all its forms.

use super::{DecodeError, MAX_ATTRIBUTE, attribute};
use crate::event::{Data, Event};
use std::{borrow::Cow, collections::BTreeMap};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// Members that are written from the fields of an event. A further attribute of such a name is left
/// out.
const OWN: [&str; 8] =
    ["specversion", "id", "source", "type", "time", "user", "noop", "datacontenttype"];

/// Media type of JSON data whose attributes name no special kind of JSON.
pub(super) const JSON: &str = "application/json";

/// Value of an attribute that is written.
pub(super) enum Written<'a> {
    Text(Cow<'a, str>),
    Flag(bool),
}

/// Attributes to write for an event, without `datacontenttype`, which is written with the data.
/// `user` and `noop` are extension attributes. An attribute whose name CloudEvents does not allow
/// is left out.
pub(super) fn written(event: &Event) -> Vec<(&str, Written<'_>)> {
    let text = |text| Written::Text(Cow::Borrowed(text));
    let mut list = vec![
        ("specversion", text("1.0")),
        ("id", text(&event.id)),
        ("source", text(&event.source)),
        ("type", text(&event.kind)),
    ];
    list.extend(event.user.as_deref().map(|user| ("user", text(user))));
    // RFC 3339 cannot write some times, such as the year 10000.
    let time = event.time.and_then(|time| time.format(&Rfc3339).ok());
    list.extend(time.map(|time| ("time", Written::Text(Cow::Owned(time)))));
    list.extend(event.noop.then_some(("noop", Written::Flag(true))));
    let others = event
        .attributes
        .iter()
        .filter(|(name, _)| is_attribute_name(name) && !OWN.contains(&name.as_str()));
    list.extend(others.map(|(name, value)| (name.as_str(), text(value))));
    list
}

pub(super) fn shortened(text: &str) -> String {
    text.chars().take(80).collect()
}

/// Checks a text that identifies something: it is not empty, not too long, and has no control
/// character. CloudEvents 1.0, section 2.2, allows control characters in no attribute.
pub(super) fn identifying(name: &str, text: String) -> Result<String, DecodeError> {
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
pub(super) fn is_attribute_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    !name.is_empty() && name != "data" && name.bytes().all(allowed)
}

/// Makes an event from the attributes of a `CloudEvent`, read from any form.
pub(super) fn assemble(
    mut attributes: BTreeMap<String, String>,
    data: Data,
) -> Result<Event, DecodeError> {
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
    // Data without a media type is JSON, so the plain media type of JSON is redundant.
    if matches!(data, Data::Json(_)) && attributes.get("datacontenttype").is_some_and(|t| t == JSON)
    {
        attributes.remove("datacontenttype");
    }
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
