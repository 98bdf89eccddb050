//! Refusals and failures as RFC 9457 problems.
//!
//! Only this module turns errors into statuses. A handler returns a [`Problem`], and the envelope
//! ([`super::envelope`]) writes it, because only the envelope knows the id of the request. Internal
//! causes (an error of the database, an address) are logged with that id and never sent.

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

/// Media type of problems (RFC 9457, section 6.1).
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Refusal or failure of a request.
#[derive(Debug, Clone)]
pub struct Problem {
    kind: &'static ProblemKind,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<String>,
}

impl Problem {
    /// Problem whose detail tells what is wrong with this request and what would be right.
    #[must_use]
    pub fn new(kind: &'static ProblemKind, detail: impl Into<String>) -> Self {
        Self { kind, detail: detail.into(), members: Map::new(), headers: Vec::new(), cause: None }
    }

    /// Failure inside hearken. The answer has a fixed text; the cause is logged with the id of the
    /// request.
    #[must_use]
    pub fn internal(cause: impl Into<String>) -> Self {
        let detail = "The request failed inside hearken. The log has the cause under the id of this request.";
        Self { cause: Some(cause.into()), ..Self::new(&kinds::INTERNAL, detail) }
    }

    /// Adds an extension member (RFC 9457, section 3.2).
    ///
    /// # Panics
    /// Never: members are plain JSON values.
    #[must_use]
    pub fn with(mut self, member: &'static str, value: impl Serialize) -> Self {
        let value = serde_json::to_value(value).expect("members are plain JSON");
        self.members.insert(member.to_owned(), value);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Tells the client to try again after some seconds.
    #[must_use]
    pub fn retry_after(self, seconds: u32) -> Self {
        self.header(header::RETRY_AFTER, HeaderValue::from(seconds))
    }

    /// Adds the cause, for the log.
    #[must_use]
    pub fn caused_by(mut self, error: &(dyn Error + 'static)) -> Self {
        self.cause = Some(error_chain(error));
        self
    }

    /// Kind of the problem.
    #[must_use]
    pub fn kind(&self) -> &'static ProblemKind {
        self.kind
    }

    /// What is wrong with this request.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.detail
    }

    /// Internal cause, for the log.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// Body of the answer to the request with this id.
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

    /// Answer to the request with this id.
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
