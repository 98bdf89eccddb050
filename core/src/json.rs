//! Strict reader of JSON from outside.
//!
//! Two readers of one document must not see different contents. So an object that has the same key
//! twice is refused; other readers silently keep the last value. Depth and number of values are
//! limited while a document is read, so that no document can exhaust the stack or the memory.

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, error::Category, map::Entry};
use std::{cell::Cell, fmt};

/// Largest depth of nested objects and arrays.
pub const MAX_DEPTH: usize = 64;

/// Largest number of values in a document, on all levels together. A small value needs many times
/// its bytes in memory, so a limit on the number of bytes does not bound the memory.
pub const MAX_VALUES: usize = 1_000_000;

/// Largest number of objects in a document. Each object needs more than 600 bytes of memory. An
/// event of James has two objects for each message, and reaches the largest body before it has more
/// objects than this.
pub const MAX_OBJECTS: usize = 150_000;

/// Reason why a document is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// The bytes are not UTF-8.
    #[error("byte {0} is not UTF-8; JSON is UTF-8 (RFC 8259, section 8.1)")]
    Encoding(usize),
    /// The text is not JSON.
    #[error("not valid JSON: {0}")]
    Syntax(String),
    /// The JSON has a repeated key, is nested too deep, or has too many values.
    #[error("{0}")]
    Refused(String),
}

/// Reads one JSON document.
///
/// # Errors
/// [`JsonError`] says what is wrong, with line and column.
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

/// Reader of a value that lies inside `depth` objects and arrays.
#[derive(Clone, Copy)]
struct Strict<'c> {
    depth: usize,
    /// Number of values that were read before.
    values: &'c Cell<usize>,
    /// Number of objects among these values.
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
    fn a_valid_document_reads_as_serde_json_reads_it() {
        let text = r#" {"a":[1,-2,3.5,true,null,"x\n"],"b":{"c":18446744073709551615}} "#;
        let expected: Value = serde_json::from_str(text).unwrap();
        assert_eq!(strict(text.as_bytes()).unwrap(), expected);
    }

    #[test]
    fn a_key_that_occurs_twice_is_refused_at_any_depth() {
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
    fn a_text_that_is_not_json_is_refused_with_the_kind_of_mistake() {
        assert_eq!(strict(b"\"a\xff\"").unwrap_err(), JsonError::Encoding(2));
        for text in ["", "{", "{} {}", "nul", "\u{feff}{}", "{'a':1}"] {
            assert!(matches!(strict(text.as_bytes()), Err(JsonError::Syntax(_))), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = strict(&bytes);
        }
    }
}
