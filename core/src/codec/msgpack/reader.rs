//! Reader of `MessagePack`, one token at a time. Texts and binaries are parts of the input, so no
//! memory is allocated for a length that the input only claims.

use super::super::DecodeError;
use rmp::{
    Marker,
    decode::{
        read_array_len, read_bin_len, read_bool, read_f32, read_f64, read_int, read_map_len,
        read_nil, read_str_len,
    },
};
use std::fmt;

/// Next element of the input.
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(&'a str),
    Binary(&'a [u8]),
    /// Beginning of an array, with the number of values that follow.
    Array(u32),
    /// Beginning of a map, with the number of pairs of key and value that follow.
    Map(u32),
}

impl fmt::Display for Token<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "nil",
            Self::Bool(_) => "a boolean",
            Self::Int(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "a string",
            Self::Binary(_) => "a binary",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
        })
    }
}

/// Reader of a body.
pub(super) struct MsgpackReader<'a> {
    body: &'a [u8],
    rest: &'a [u8],
    /// Position at which the last token began.
    at: usize,
}

impl<'a> MsgpackReader<'a> {
    pub(super) fn new(body: &'a [u8]) -> Self {
        Self { body, rest: body, at: 0 }
    }

    /// An error at the last token.
    pub(super) fn refuse(&self, problem: impl Into<String>) -> DecodeError {
        DecodeError::MsgPack { at: self.at, problem: problem.into() }
    }

    /// The next token.
    pub(super) fn next(&mut self) -> Result<Token<'a>, DecodeError> {
        self.at = self.body.len() - self.rest.len();
        let Some(&first) = self.rest.first() else {
            return Err(self.refuse("the body ends too early"));
        };
        let rest = &mut self.rest;
        let token = match Marker::from_u8(first) {
            Marker::Null => read_nil(rest).map(|()| Token::Null).ok(),
            Marker::True | Marker::False => read_bool(rest).map(Token::Bool).ok(),
            Marker::F32 => read_f32(rest).map(|single| Token::Float(single.into())).ok(),
            Marker::F64 => read_f64(rest).map(Token::Float).ok(),
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
                read_array_len(rest).map(Token::Array).ok()
            }
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
                read_map_len(rest).map(Token::Map).ok()
            }
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => {
                match read_str_len(rest).ok().and_then(|bytes| self.take(bytes)) {
                    Some(bytes) => Some(Token::Text(self.utf8(bytes)?)),
                    None => None,
                }
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                read_bin_len(rest).ok().and_then(|bytes| self.take(bytes)).map(Token::Binary)
            }
            Marker::Reserved => {
                return Err(self.refuse("the byte 0xc1 is not allowed in MessagePack"));
            }
            Marker::FixExt1
            | Marker::FixExt2
            | Marker::FixExt4
            | Marker::FixExt8
            | Marker::FixExt16
            | Marker::Ext8
            | Marker::Ext16
            | Marker::Ext32 => {
                let problem = "there is an extension value; write times as texts of RFC 3339 and anything else without extensions";
                return Err(self.refuse(problem));
            }
            _ => read_int(rest).map(Token::Int).ok(),
        };
        // Every marker has a case above, so a missing token means that the body is cut off.
        token.ok_or_else(|| self.refuse("a value begins and the body ends before the value does"))
    }

    /// The next token, which must be a key of a map.
    pub(super) fn key(&mut self) -> Result<&'a str, DecodeError> {
        match self.next()? {
            Token::Text(text) => Ok(text),
            other => Err(self.refuse(format!("a key is {other}; it must be a string"))),
        }
    }

    /// Checks that the body has ended.
    pub(super) fn end(&mut self) -> Result<(), DecodeError> {
        self.at = self.body.len() - self.rest.len();
        match self.rest.len() {
            0 => Ok(()),
            more => Err(self.refuse(format!("the event has ended, and {more} bytes follow"))),
        }
    }

    fn take(&mut self, bytes: u32) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(usize::try_from(bytes).ok()?)?;
        self.rest = rest;
        Some(taken)
    }

    fn utf8(&self, bytes: &'a [u8]) -> Result<&'a str, DecodeError> {
        std::str::from_utf8(bytes)
            .map_err(|_| self.refuse("there is a string that is not UTF-8; bytes are a binary"))
    }
}
