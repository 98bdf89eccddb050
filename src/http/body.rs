//! Request bodies: size, content type and fields.

use super::{
    parameters::invalid_parameter,
    problem::{Problem, kinds},
};
use crate::{domain::listener::Configuration, json::JsonError};
use axum::{
    body::Bytes,
    extract::{FromRequest, Request, rejection::BytesRejection, rejection::FailedToBufferBody},
    http::{HeaderMap, header},
};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::{fmt::Display, time::Duration};

/// Size of the largest body, in bytes.
pub const LIMIT: usize = 1024 * 1024;

/// Time that a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// Body as the client sent it, of at most [`LIMIT`] bytes.
#[derive(Debug, Clone)]
pub struct Body(pub Bytes);

impl<S: Send + Sync> FromRequest<S> for Body {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let arrived = tokio::time::timeout(PATIENCE, Bytes::from_request(request, state)).await;
        match arrived {
            Ok(Ok(bytes)) => Ok(Self(bytes)),
            Ok(Err(BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(
                _,
            )))) => {
                let detail = format!("the body has more than {LIMIT} bytes");
                Err(Problem::new(&kinds::BODY_TOO_LARGE, detail).with("limit", LIMIT))
            }
            Ok(Err(_)) => Err(Problem::new(
                &kinds::INVALID_BODY,
                "the connection ended before the body was complete",
            )),
            Err(_) => {
                let detail =
                    format!("the body did not arrive within {} seconds", PATIENCE.as_secs());
                Err(Problem::new(&kinds::TIMEOUT, detail))
            }
        }
    }
}

/// Content type of a request, if it has one.
///
/// # Errors
/// When the header appears twice, or is not visible ASCII.
pub fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let bad = || {
        invalid_parameter(
            "Content-Type",
            "the header Content-Type appears twice or is not visible ASCII".into(),
        )
    };
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| bad()),
        (Some(_), Some(_)) => Err(bad()),
    }
}

/// Fields of a JSON object. The caller takes the fields that it knows, and [`Fields::end`] refuses
/// any other field.
#[derive(Debug)]
pub struct Fields {
    pointer: String,
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Reads a body. A body without a content type is read as JSON.
    ///
    /// # Errors
    /// When the content type is not JSON, or the body is not a JSON object.
    pub fn from_body(headers: &HeaderMap, body: &Body) -> Result<Self, Problem> {
        let content_type = content_type(headers)?.unwrap_or("application/json");
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let shown: String = content_type.chars().take(80).collect();
            let detail = format!("the content type is {shown:?}; this call takes application/json");
            return Err(Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, detail)
                .with("known", ["application/json"]));
        }
        Self::from_value(String::new(), crate::json::strict(&body.0)?)
    }

    fn from_value(pointer: String, value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(fields) => Ok(Self { pointer, left: fields, known: Vec::new() }),
            other => {
                let what = if pointer.is_empty() { "the body" } else { pointer.as_str() };
                let detail = format!("{what} is {}; it must be a JSON object", kind_of(&other));
                Err(invalid_field(&pointer, detail))
            }
        }
    }

    /// Takes a field. `null` means the same as an absent field.
    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.left.remove(field).filter(|value| !value.is_null())
    }

    /// JSON pointer of a field.
    fn pointer_to(&self, field: &str) -> String {
        format!("{}/{field}", self.pointer)
    }

    /// Takes a text.
    ///
    /// # Errors
    /// When the field is not a string.
    pub fn text(&mut self, field: &'static str) -> Result<Option<String>, Problem> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                let at = self.pointer_to(field);
                let detail = format!("{at} is {}; it must be a string", kind_of(&other));
                Err(invalid_field(&at, detail))
            }
        }
    }

    /// Takes a text that must pass a check.
    ///
    /// # Errors
    /// When the field is not a string, or the check refuses it.
    pub fn checked_text<E: Display>(
        &mut self,
        field: &'static str,
        check: impl FnOnce(&str) -> Result<(), E>,
    ) -> Result<Option<String>, Problem> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        check(&text).map_err(|error| invalid_field(&self.pointer_to(field), error.to_string()))?;
        Ok(Some(text))
    }

    /// Takes a text that is required.
    ///
    /// # Errors
    /// When the field is absent or not a string.
    pub fn required_text(&mut self, field: &'static str) -> Result<String, Problem> {
        self.text(field)?.ok_or_else(|| {
            let at = self.pointer_to(field);
            invalid_field(&at, format!("{at} is missing; it must be a string"))
        })
    }

    /// Takes a value that its type reads.
    ///
    /// # Errors
    /// When the type refuses the value.
    pub fn read<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let at = self.pointer_to(field);
        let read = serde_json::from_value(value);
        read.map(Some).map_err(|error| invalid_field(&at, format!("{at} is wrong: {error}")))
    }

    /// Takes an object, whose fields are taken one by one.
    ///
    /// # Errors
    /// When the field is not an object.
    pub fn fields(&mut self, field: &'static str) -> Result<Option<Self>, Problem> {
        let at = self.pointer_to(field);
        self.take(field).map(|value| Self::from_value(at, value)).transpose()
    }

    /// Takes an object as it is, for example the configuration, whose fields the class knows.
    ///
    /// # Errors
    /// When the field is not an object.
    pub fn object(&mut self, field: &'static str) -> Result<Option<Configuration>, Problem> {
        Ok(self.fields(field)?.map(|inner| inner.left))
    }

    /// Refuses the fields that were not taken.
    ///
    /// # Errors
    /// When a field is left; names it and the known fields.
    pub fn end(self) -> Result<(), Problem> {
        let Some(left) = self.left.keys().next() else { return Ok(()) };
        let shown: String = left.chars().take(80).collect();
        let at = self.pointer_to(&shown.replace('~', "~0").replace('/', "~1"));
        let detail = format!("there is no field {at}; the fields are {}", self.known.join(", "));
        Err(invalid_field(&at, detail).with("known", &self.known))
    }
}

/// Problem of a field.
#[must_use]
pub fn invalid_field(pointer: &str, detail: String) -> Problem {
    Problem::new(&kinds::INVALID_BODY, detail).with("pointer", pointer)
}

/// Kind of a JSON value, with its article.
fn kind_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

impl From<JsonError> for Problem {
    fn from(error: JsonError) -> Self {
        let text = error.to_string();
        let place = place(&text);
        let problem = Self::new(&kinds::INVALID_BODY, text);
        match place {
            Some((line, column)) => problem.with("line", line).with("column", column),
            None => problem,
        }
    }
}

/// Line and column where reading stopped: the end of the JSON reader's message.
fn place(text: &str) -> Option<(u64, u64)> {
    let (_, place) = text.rsplit_once(" at line ")?;
    let (line, column) = place.split_once(" column ")?;
    Some((line.parse().ok()?, column.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use serde_json::json;

    fn fields(body: &'static str) -> Result<Fields, Problem> {
        Fields::from_body(&HeaderMap::new(), &Body(Bytes::from_static(body.as_bytes())))
    }

    fn member(problem: &Problem, name: &str) -> Value {
        problem.body("r")[name].clone()
    }

    #[test]
    fn broken_json_is_refused_with_its_place() {
        let problem = fields("{\n  \"class\": }").unwrap_err();
        assert_eq!((member(&problem, "line"), member(&problem, "column")), (json!(2), json!(12)));
        assert_eq!(problem.kind(), &kinds::INVALID_BODY);
        for body in ["", "{\"a\":1,\"a\":2}", "[]", "\"x\"", "null"] {
            assert_eq!(fields(body).unwrap_err().kind(), &kinds::INVALID_BODY, "{body}");
        }
    }

    #[test]
    fn a_field_of_the_wrong_type_is_named_by_its_pointer() {
        let mut outer =
            fields(r#"{"class": 5, "concurrency": -1, "retry": {"first": true}}"#).unwrap();
        let problem = outer.text("class").unwrap_err();
        assert_eq!(problem.detail(), "/class is a number; it must be a string");
        let problem = outer.read::<u16>("concurrency").unwrap_err();
        assert_eq!(member(&problem, "pointer"), json!("/concurrency"));
        let mut retry = outer.fields("retry").unwrap().unwrap();
        let problem = retry.read::<crate::domain::span::Span>("first").unwrap_err();
        assert_eq!(member(&problem, "pointer"), json!("/retry/first"));
    }

    #[test]
    fn a_missing_field_and_an_unknown_field_are_named() {
        let mut outer = fields(r#"{"clas": "log", "reason": null}"#).unwrap();
        let problem = outer.required_text("class").unwrap_err();
        assert_eq!(problem.detail(), "/class is missing; it must be a string");
        assert_eq!(outer.text("reason").unwrap(), None);
        let problem = outer.end().unwrap_err();
        assert_eq!(problem.detail(), "there is no field /clas; the fields are class, reason");
        assert_eq!(member(&problem, "known"), json!(["class", "reason"]));
    }

    #[test]
    fn a_content_type_other_than_json_is_refused() {
        let mut headers = HeaderMap::new();
        let body = Body(Bytes::from_static(b"{}"));
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json; charset=utf-8"),
        );
        assert!(Fields::from_body(&headers, &body).is_ok());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        assert_eq!(
            Fields::from_body(&headers, &body).unwrap_err().kind(),
            &kinds::UNSUPPORTED_MEDIA_TYPE
        );
    }
}
