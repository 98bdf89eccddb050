//! Request bodies: their size, their form, their fields.

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
use std::time::Duration;

/// The largest body, in bytes.
pub const LIMIT: usize = 1024 * 1024;

/// How long a body may take to arrive.
const PATIENCE: Duration = Duration::from_secs(30);

/// A body as it came, of at most [`LIMIT`] bytes.
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
            Ok(Err(_)) => Err(Problem::new(&kinds::INVALID_BODY, "the body ended before its end")),
            Err(_) => {
                let detail =
                    format!("the body did not arrive within {} seconds", PATIENCE.as_secs());
                Err(Problem::new(&kinds::TIMEOUT, detail))
            }
        }
    }
}

/// The content type of a request, where it has exactly one.
///
/// # Errors
/// When the header is there twice or is not text.
pub fn content_type(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut all = headers.get_all(header::CONTENT_TYPE).iter();
    let bad = || {
        invalid_parameter(
            "Content-Type",
            "the header Content-Type is given twice or is not ASCII".into(),
        )
    };
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(one), None) => one.to_str().map(Some).map_err(|_| bad()),
        (Some(_), Some(_)) => Err(bad()),
    }
}

/// A JSON object, of which one takes a field after the other and refuses the rest.
#[derive(Debug)]
pub struct Fields {
    pointer: String,
    left: Map<String, Value>,
    known: Vec<&'static str>,
}

impl Fields {
    /// Reads a body. One without a content type is taken as JSON.
    ///
    /// # Errors
    /// When the content type is another, or the body is not a JSON object.
    pub fn from_body(headers: &HeaderMap, body: &Body) -> Result<Self, Problem> {
        let content_type = content_type(headers)?.unwrap_or("application/json");
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/json") {
            let shown: String = content_type.chars().take(80).collect();
            let detail = format!("the content type is {shown:?}; this call takes application/json");
            return Err(Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, detail)
                .with("known", ["application/json"]));
        }
        Self::object(String::new(), crate::json::strict(&body.0)?)
    }

    fn object(pointer: String, value: Value) -> Result<Self, Problem> {
        match value {
            Value::Object(fields) => Ok(Self { pointer, left: fields, known: Vec::new() }),
            other => {
                let what = if pointer.is_empty() { "the body" } else { pointer.as_str() };
                let detail = format!("{what} is {}; it must be a JSON object", name(&other));
                Err(wrong(&pointer, detail))
            }
        }
    }

    /// A field's value. `null` is the same as a field that is not there.
    fn take(&mut self, field: &'static str) -> Option<Value> {
        self.known.push(field);
        self.left.remove(field).filter(|value| !value.is_null())
    }

    fn at(&self, field: &str) -> String {
        format!("{}/{field}", self.pointer)
    }

    /// A text.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn text(&mut self, field: &'static str) -> Result<Option<String>, Problem> {
        match self.take(field) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(other) => {
                let at = self.at(field);
                let detail = format!("{at} is {}; it must be a string", name(&other));
                Err(wrong(&at, detail))
            }
        }
    }

    /// A text that must pass a check.
    ///
    /// # Errors
    /// When the field is something else, or does not pass.
    pub fn checked_text(
        &mut self,
        field: &'static str,
        check: impl FnOnce(&str) -> Result<(), String>,
    ) -> Result<Option<String>, Problem> {
        let Some(text) = self.text(field)? else { return Ok(None) };
        check(&text).map_err(|detail| wrong(&self.at(field), detail))?;
        Ok(Some(text))
    }

    /// A text that must be there.
    ///
    /// # Errors
    /// When it is not there or something else.
    pub fn required_text(&mut self, field: &'static str) -> Result<String, Problem> {
        self.text(field)?.ok_or_else(|| {
            let at = self.at(field);
            wrong(&at, format!("{at} is missing; it must be a string"))
        })
    }

    /// A value whose type checks itself.
    ///
    /// # Errors
    /// When the type does not accept it.
    pub fn read<T: DeserializeOwned>(&mut self, field: &'static str) -> Result<Option<T>, Problem> {
        let Some(value) = self.take(field) else { return Ok(None) };
        let at = self.at(field);
        let read = serde_json::from_value(value);
        read.map(Some).map_err(|error| wrong(&at, format!("{at} is wrong: {error}")))
    }

    /// An object of its own.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn fields(&mut self, field: &'static str) -> Result<Option<Self>, Problem> {
        let at = self.at(field);
        self.take(field).map(|value| Self::object(at, value)).transpose()
    }

    /// An object whose fields only somebody else knows.
    ///
    /// # Errors
    /// When the field is something else.
    pub fn free(&mut self, field: &'static str) -> Result<Option<Configuration>, Problem> {
        Ok(self.fields(field)?.map(|inner| inner.left))
    }

    /// Refuses whatever was not taken.
    ///
    /// # Errors
    /// Names the first field that is left, and those there are.
    pub fn end(self) -> Result<(), Problem> {
        let Some(left) = self.left.keys().next() else { return Ok(()) };
        let shown: String = left.chars().take(80).collect();
        let at = self.at(&shown.replace('~', "~0").replace('/', "~1"));
        let detail = format!("there is no field {at}; there are {}", self.known.join(", "));
        Err(wrong(&at, detail).with("known", &self.known))
    }
}

fn wrong(pointer: &str, detail: String) -> Problem {
    Problem::new(&kinds::INVALID_BODY, detail).with("pointer", pointer)
}

fn name(value: &Value) -> &'static str {
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

/// The JSON reader says where it stopped at the end of its text.
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
    fn a_missing_field_and_one_too_many_are_named() {
        let mut outer = fields(r#"{"clas": "log", "reason": null}"#).unwrap();
        let problem = outer.required_text("class").unwrap_err();
        assert_eq!(problem.detail(), "/class is missing; it must be a string");
        assert_eq!(outer.text("reason").unwrap(), None);
        let problem = outer.end().unwrap_err();
        assert_eq!(problem.detail(), "there is no field /clas; there are class, reason");
        assert_eq!(member(&problem, "known"), json!(["class", "reason"]));
    }

    #[test]
    fn another_content_type_than_json_is_refused() {
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
