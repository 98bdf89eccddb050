//! CloudEvents in [`MessagePack`](https://github.com/msgpack/msgpack/blob/master/spec.md).
//!
//! An event is a map with the members of the JSON form. Its data is a binary whose media type is
//! `datacontenttype`; JSON data is a binary too, of exactly its bytes. Data that another program
//! wrote as a text or as a value of `MessagePack` is read as the equivalent JSON.

mod json;
mod reader;

use super::{
    DecodeError, attribute,
    attributes::{self, Written, assemble, written},
    carried, is_json, not_text,
};
use crate::event::{Data, Event};
use reader::{MsgpackReader, Token};
use rmp::encode::{ValueWriteError, write_bin, write_bool, write_map_len, write_str};
use std::collections::BTreeMap;

/// Writes an event with content type [`super::CLOUDEVENTS_MSGPACK`].
pub(super) fn encode(event: &Event) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write(event, &mut out).expect("writing into memory cannot fail");
    out
}

fn write(event: &Event, out: &mut Vec<u8>) -> Result<(), ValueWriteError> {
    let attributes = written(event);
    let stated = event.attributes.get("datacontenttype").map(String::as_str);
    let (content_type, data) = match &event.data {
        Data::None => (stated, None),
        Data::Json(json) => {
            let finer = stated.filter(|kind| is_json(kind));
            (finer.or(Some(attributes::JSON)), Some(json.get().as_bytes()))
        }
        Data::Bytes { content_type, bytes } => (content_type.as_deref(), Some(bytes.as_slice())),
    };
    let members =
        attributes.len() + usize::from(content_type.is_some()) + usize::from(data.is_some());
    write_map_len(out, u32::try_from(members).expect("an event has few attributes"))?;
    for (name, value) in attributes {
        write_str(out, name)?;
        match value {
            Written::Text(text) => write_str(out, &text)?,
            Written::Flag(flag) => {
                write_bool(out, flag).map_err(ValueWriteError::InvalidDataWrite)?;
            }
        }
    }
    if let Some(content_type) = content_type {
        write_str(out, "datacontenttype")?;
        write_str(out, content_type)?;
    }
    if let Some(data) = data {
        write_str(out, "data")?;
        write_bin(out, data)?;
    }
    Ok(())
}

/// Value of the member `data`, before its media type is known.
enum Found {
    Binary(Vec<u8>),
    Text(String),
    /// Kind of the `MessagePack` value, and the equivalent JSON.
    Value(String, Vec<u8>),
}

pub(super) fn event(body: &[u8]) -> Result<Event, DecodeError> {
    let mut reader = MsgpackReader::new(body);
    let members = match reader.next()? {
        Token::Map(members) => members,
        other => return Err(reader.refuse(format!("is {other}; a CloudEvent is a map"))),
    };
    let mut attributes = BTreeMap::new();
    let mut data = None;
    for _ in 0..members {
        let name = reader.key()?;
        let twice = if name == "data" {
            data.replace(found(&mut reader)?).is_some()
        } else {
            let Some(text) = text(&mut reader, name)? else { continue };
            attributes.insert(name.to_owned(), text).is_some()
        };
        if twice {
            return Err(attribute(name, "occurs twice; it may occur once"));
        }
    }
    reader.end()?;
    let is_json = attributes.get("datacontenttype").is_none_or(|kind| is_json(kind));
    let data = match data {
        None => Data::None,
        Some(Found::Binary(bytes)) => carried(&mut attributes, bytes)?,
        Some(Found::Value(_, json)) if is_json => Data::Json(super::raw(&json)?.to_owned()),
        Some(Found::Value(found, _)) => return Err(not_text(&found)),
        Some(Found::Text(text)) if is_json => {
            Data::Json(serde_json::value::to_raw_value(&text).map_err(super::unreadable)?)
        }
        Some(Found::Text(text)) => carried(&mut attributes, text.into_bytes())?,
    };
    assemble(attributes, data)
}

fn found(reader: &mut MsgpackReader<'_>) -> Result<Found, DecodeError> {
    Ok(match reader.next()? {
        Token::Binary(bytes) => Found::Binary(bytes.to_vec()),
        Token::Text(text) => Found::Text(text.to_owned()),
        other => Found::Value(other.to_string(), json::transcode(reader, &other)?),
    })
}

/// Reads the text of an attribute. Null means that the attribute is absent, as in the JSON form.
fn text(reader: &mut MsgpackReader<'_>, name: &str) -> Result<Option<String>, DecodeError> {
    match reader.next()? {
        Token::Null => Ok(None),
        Token::Text(text) => Ok(Some(text.to_owned())),
        Token::Bool(flag) => Ok(Some(flag.to_string())),
        Token::Int(number) => Ok(Some(number.to_string())),
        other => {
            let problem = format!("is {other}; it must be a string, a boolean or an integer");
            Err(attribute(name, problem))
        }
    }
}
