//! JSON from outside, read strictly.
//!
//! Two readers of one document must not see two different things, so an object with the same key
//! twice is refused instead of the last one winning. Nesting is limited while it is read, so that
//! no document can exhaust the stack, and so is the number of values, so that none exhausts memory.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, error::Category, map::Entry};
use std::{cell::Cell, fmt};

/// How deep objects and arrays may be nested.
pub const MAX_DEPTH: usize = 64;

/// How many values a document may have, all levels together. Small values need many times their
/// bytes in memory, so the number of bytes alone bounds nothing.
pub const MAX_VALUES: usize = 1_000_000;

/// How many of them may be objects, each of which needs more than 600 bytes. An event of James has
/// two for each message, and fills the largest body before it has more than this.
pub const MAX_OBJECTS: usize = 150_000;

/// Why bytes are not JSON that can be accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not text at all.
    #[error("byte {0} is not UTF-8; JSON is UTF-8 (RFC 8259, section 8.1)")]
    Encoding(usize),
    /// Not JSON.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// JSON with a repeated key, nested too deep, or with too many values.
    #[error("{0}")]
    Refused(String),
}

/// Reads one JSON document.
///
/// # Errors
/// [`JsonError`] says what is wrong, and where by line and column.
pub fn strict(bytes: &[u8]) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|e| JsonError::Encoding(e.valid_up_to()))?;
    let mut reader = serde_json::Deserializer::from_str(text);
    let explain = |error: serde_json::Error| match error.classify() {
        Category::Data => JsonError::Refused(error.to_string()),
        Category::Io | Category::Syntax | Category::Eof => JsonError::Syntax(error.to_string()),
    };
    let (values, objects) = (Cell::new(0), Cell::new(0));
    let value = Strict { depth: 0, values: &values, objects: &objects }
        .deserialize(&mut reader)
        .map_err(explain)?;
    reader.end().map_err(explain)?;
    Ok(value)
}

/// Reads a value that lies inside so many objects and arrays.
#[derive(Clone, Copy)]
struct Strict<'c> {
    depth: usize,
    /// How many values were read before it.
    values: &'c Cell<usize>,
    /// How many of them were objects.
    objects: &'c Cell<usize>,
}

impl Strict<'_> {
    fn deeper<E: serde::de::Error>(self) -> Result<Self, E> {
        if self.depth == MAX_DEPTH {
            return Err(E::custom(format!("values are nested deeper than {MAX_DEPTH} levels")));
        }
        Ok(Self { depth: self.depth + 1, ..self })
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Value, D::Error> {
        self.values.set(self.values.get() + 1);
        if self.values.get() > MAX_VALUES {
            return Err(D::Error::custom(format!("there are more than {MAX_VALUES} values")));
        }
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(inside)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let inside = self.deeper()?;
        self.objects.set(self.objects.get() + 1);
        if self.objects.get() > MAX_OBJECTS {
            return Err(A::Error::custom(format!("there are more than {MAX_OBJECTS} objects")));
        }
        let mut object = Map::new();
        while let Some(key) = members.next_key::<String>()? {
            match object.entry(key) {
                Entry::Vacant(free) => free.insert(members.next_value_seed(inside)?),
                Entry::Occupied(taken) => {
                    let key: String = taken.key().chars().take(80).collect();
                    let problem = format!("the key {key:?} occurs twice in one object");
                    return Err(A::Error::custom(problem));
                }
            };
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_document_reads_as_it_does_elsewhere() {
        let text = r#" {"a":[1,-2,3.5,true,null,"x\n"],"b":{"c":18446744073709551615}} "#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(strict(text.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_key_that_occurs_twice_is_refused_wherever_it_is() {
        for text in [r#"{"a":1,"a":1}"#, r#"[{"b":{"a":1,"\u0061":2}}]"#] {
            let error = strict(text.as_bytes()).unwrap_err().to_string();
            assert!(
                error.contains("the key \"a\" occurs twice in one object at line 1"),
                "{error}"
            );
        }
        assert!(strict(br#"[{"a":1},{"a":2}]"#).is_ok());
    }

    #[test]
    fn nesting_is_limited_and_never_exhausts_the_stack() {
        let nested = |n: usize| [vec![b'['; n], vec![b']'; n]].concat();
        assert!(strict(&nested(MAX_DEPTH)).is_ok());
        let error = strict(&nested(MAX_DEPTH + 1)).unwrap_err().to_string();
        assert!(error.starts_with("values are nested deeper than 64 levels"), "{error}");
        assert!(strict(&vec![b'['; 1_000_000]).is_err());
        assert!(strict(&br#"{"a":"#.repeat(300_000)).is_err());
    }

    #[test]
    fn what_is_not_json_is_named() {
        assert_eq!(strict(b"\"a\xff\"").unwrap_err(), JsonError::Encoding(2));
        for text in ["", "{", "{} {}", "nul", "\u{feff}{}", "{'a':1}"] {
            assert!(matches!(strict(text.as_bytes()), Err(JsonError::Syntax(_))), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = strict(&bytes);
        }
    }
}
