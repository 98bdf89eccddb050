//! Values of `MessagePack`, written as the equivalent JSON without a tree in between.

use super::{
    super::{DecodeError, MAX_BYTES},
    reader::{MsgpackReader, Token},
};
use crate::json::{MAX_DEPTH, MAX_VALUES};
use std::{collections::HashSet, fmt::Write};

/// Writes a value whose first token has been read as JSON.
///
/// # Errors
/// JSON has no such value, or the value is too large.
pub(super) fn transcode(
    reader: &mut MsgpackReader<'_>,
    first: &Token<'_>,
) -> Result<Vec<u8>, DecodeError> {
    let mut writer = Writer { reader, out: String::new(), values: 0 };
    writer.value(first, 0)?;
    Ok(writer.out.into_bytes())
}

struct Writer<'r, 'a> {
    reader: &'r mut MsgpackReader<'a>,
    out: String,
    values: usize,
}

impl Writer<'_, '_> {
    fn value(&mut self, token: &Token<'_>, depth: usize) -> Result<(), DecodeError> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(self.reader.refuse(format!("there are more than {MAX_VALUES} values")));
        }
        match token {
            Token::Null => self.out.push_str("null"),
            Token::Bool(flag) => self.out.push_str(if *flag { "true" } else { "false" }),
            Token::Int(number) => {
                let _ = write!(self.out, "{number}");
            }
            Token::Float(number) if number.is_finite() => self.push(number),
            Token::Float(number) => {
                return Err(self
                    .reader
                    .refuse(format!("there is {number}, which JSON cannot write")));
            }
            Token::Text(text) => self.push(text),
            Token::Binary(_) => {
                let problem = "there is a binary inside the data, which JSON cannot write; data is one binary, or values without binaries";
                return Err(self.reader.refuse(problem));
            }
            Token::Array(length) => self.array(*length, depth)?,
            Token::Map(length) => self.map(*length, depth)?,
        }
        match self.out.len() {
            ..=MAX_BYTES => Ok(()),
            _ => {
                Err(self.reader.refuse(format!("the data has more than {MAX_BYTES} bytes as JSON")))
            }
        }
    }

    fn array(&mut self, length: u32, depth: usize) -> Result<(), DecodeError> {
        let depth = self.deeper(depth)?;
        self.out.push('[');
        for index in 0..length {
            if index > 0 {
                self.out.push(',');
            }
            let token = self.reader.next()?;
            self.value(&token, depth)?;
        }
        self.out.push(']');
        Ok(())
    }

    fn map(&mut self, length: u32, depth: usize) -> Result<(), DecodeError> {
        let depth = self.deeper(depth)?;
        let mut keys = HashSet::new();
        self.out.push('{');
        for index in 0..length {
            if index > 0 {
                self.out.push(',');
            }
            let key = self.reader.key()?;
            if !keys.insert(key) {
                let key: String = key.chars().take(80).collect();
                let problem = format!("the key {key:?} occurs twice in one map");
                return Err(self.reader.refuse(problem));
            }
            self.push(key);
            self.out.push(':');
            let token = self.reader.next()?;
            self.value(&token, depth)?;
        }
        self.out.push('}');
        Ok(())
    }

    fn deeper(&self, depth: usize) -> Result<usize, DecodeError> {
        if depth == MAX_DEPTH {
            let problem = format!("values are nested deeper than {MAX_DEPTH} levels");
            return Err(self.reader.refuse(problem));
        }
        Ok(depth + 1)
    }

    fn push(&mut self, value: impl serde::Serialize) {
        self.out.push_str(&serde_json::to_string(&value).expect("a text or a number serializes"));
    }
}
