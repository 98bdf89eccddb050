//! CloudEvents 1.0 over HTTP in binary mode: the headers are the attributes, and the body is the
//! data (CloudEvents, "HTTP Protocol Binding", 1.0.2, section 3.1).

use super::{DecodeError, MAX_BYTES, attribute, attributes::assemble, carried};
use crate::event::{Data, Event};
use std::collections::BTreeMap;

/// Reads an event from the `ce-…` headers and the body of a request. Other headers are ignored. A
/// body whose content type is JSON must be JSON, and is kept byte for byte. An event with an empty
/// body has no data.
///
/// # Errors
/// [`DecodeError`] names the attribute and what would be right.
pub fn from_binary<'a>(
    headers: impl Iterator<Item = (&'a str, &'a str)>,
    content_type: Option<&str>,
    body: &[u8],
) -> Result<Event, DecodeError> {
    if body.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge(body.len()));
    }
    let mut attributes = BTreeMap::new();
    for (header, value) in headers {
        let header = header.to_ascii_lowercase();
        let Some(name) = header.strip_prefix("ce-") else { continue };
        if name == "datacontenttype" {
            return Err(attribute(name, "is a ce- header; in binary mode it is Content-Type"));
        }
        if attributes.insert(name.to_owned(), text(name, value)?).is_some() {
            return Err(attribute(name, "occurs twice; each ce- header may be sent once"));
        }
    }
    attributes.extend(content_type.map(|kind| ("datacontenttype".to_owned(), kind.to_owned())));
    let data = match body {
        [] => Data::None,
        body => carried(&mut attributes, body.to_vec())?,
    };
    assemble(attributes, data)
}

/// Reads the text of an attribute from a header: removes the surrounding quotes and decodes percent
/// escapes (section 3.1.3.2).
fn text(name: &str, header: &str) -> Result<String, DecodeError> {
    let quoted = header.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut bytes = Vec::with_capacity(header.len());
    let mut rest = quoted.unwrap_or(header).bytes();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' if quoted.is_some() => bytes.extend(rest.next()),
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16));
                let (Some(high), Some(low)) = (digit(), digit()) else {
                    return Err(attribute(name, "has a % without two hexadecimal digits after it"));
                };
                bytes.extend(u8::try_from(high * 16 + low));
            }
            other => bytes.push(other),
        }
    }
    String::from_utf8(bytes).map_err(|_| attribute(name, "is not UTF-8 once percent-decoded"))
}
