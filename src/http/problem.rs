//! Refusals and failures as RFC 9457 problems.
//!
//! The only place that turns errors into statuses. A handler returns a [`Problem`]; the envelope
//! ([`super::envelope`]) writes it, since only there the request's id is known. What went wrong
//! inside (a database's words, an address) is logged with that id and never sent.

pub mod kinds;
mod mapping;

use crate::error_chain::error_chain;
use axum::{
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use kinds::ProblemKind;
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::error::Error;

/// The media type of problems (RFC 9457, section 6.1).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One refusal or failure.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: &'static ProblemKind,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

impl Problem {
    /// A problem whose detail says what was wrong with this request and what would be right.
    #[must_use]
    pub fn new(kind: &'static ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new(), headers: Vec::new(), cause: None }
    }

    /// A failure of ours. The answer has a fixed text; `cause` is logged with the request's id.
    #[must_use]
    pub fn internal(cause: impl Into<String>) -> Self {
        let detail =
            "Something went wrong inside hearken. Its log has the cause, under this request's id.";
        Self { cause: Some(cause.into()), ..Self::new(&kinds::INTERNAL, detail) }
    }

    /// With an extension member (RFC 9457, section 3.2).
    ///
    /// # Panics
    /// Never: members are plain JSON values.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("members are plain JSON");
        self.members.insert(member.to_owned(), value);
        self
    }

    /// With a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// A failure that may be over when the client tries again.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// With the error behind it, for the log.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        self.cause = Some(error_chain(error));
        self
    }

    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> &'static ProblemKind {
        self.kind
    }

    /// What it says.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// What went wrong inside, where something did.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The body.
    #[must_use]
    pub fn body(&self, request: &str) -> Value {
        let mut body = self.members.clone();
        body.insert("type".into(), json!(self.kind.uri()));
        body.insert("title".into(), json!(self.kind.title));
        body.insert("status".into(), json!(self.kind.status));
        body.insert("detail".into(), json!(self.detail));
        body.insert("instance".into(), json!(format!("urn:request:{request}")));
        Value::Object(body)
    }

    /// The answer to the request of that id.
    ///
    /// # Panics
    /// Never: kinds have valid statuses.
    #[must_use]
    pub fn answer(&self, request: &str) -> Response {
        let status = StatusCode::from_u16(self.kind.status).expect("kinds have valid statuses");
        let content_type = [(header::CONTENT_TYPE, PROBLEM_JSON)];
        let mut answer = (status, content_type, self.body(request).to_string()).into_response();
        for (name, value) in &self.headers {
            answer.headers_mut().append(name, value.clone());
        }
        answer
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.kind.status).expect("kinds have valid statuses");
        let mut response = status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests;
