//! Conditions of a command: the headers `If-Match` and `Idempotency-Key`, the reason, and the time
//! to wait for the effect.

use super::{
    auth::Actor,
    body::Body,
    envelope::RequestId,
    parameters::{Query, invalid_parameter},
    problem::Problem,
};
use crate::{
    domain::{event::Version, span::Span},
    roster::{Audited, Idempotency},
};
use axum::{
    extract::FromRequestParts,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header, request::Parts},
};
use ring::digest::{Context, SHA256};
use std::time::Duration;
use uuid::Uuid;

/// Header that identifies a command, so that a repeated request does not execute it twice.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest time that a request may wait for its effect.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Name space of idempotency keys among version 5 UUIDs.
const KEYS: Uuid = Uuid::from_u128(0x8f1b_6c0a_43d5_4e6f_9a57_6a1c_7f0e_2d91);

/// `ETag` of a version of the roster.
///
/// # Panics
/// Never: digits are valid in a header.
#[must_use]
pub fn etag(version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits are valid in a header")
}

/// Version that the client expects, from `If-Match`: one quoted version. `*` expects any version.
fn if_match(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let Some(text) = single_header(headers, &header::IF_MATCH)? else { return Ok(None) };
    if text.trim() == "*" {
        return Ok(None);
    }
    let quoted = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let version = quoted.filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    version.and_then(|version| version.parse().ok()).map(Some).ok_or_else(|| {
        let detail = "If-Match must be one version of the roster in quotes, such as \"12\"; the ETag of GET /listeners has it";
        invalid_parameter("If-Match", detail.into())
    })
}

/// Request with a command: its author and its conditions.
#[derive(Debug)]
pub struct CommandRequest {
    /// Author of the command.
    pub actor: Actor,
    /// Id of the request.
    pub request: RequestId,
    /// Headers of the request.
    pub headers: HeaderMap,
    /// Query of the request.
    pub query: Query,
    method: Method,
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for CommandRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await?;
        let lacking = |what| Problem::internal(format!("a route with a command has no {what}"));
        let extensions = &parts.extensions;
        Ok(Self {
            actor: extensions.get().cloned().ok_or_else(|| lacking("guard"))?,
            request: extensions.get().cloned().ok_or_else(|| lacking("envelope"))?,
            headers: parts.headers.clone(),
            query,
            method: parts.method.clone(),
            path: parts.uri.path().to_owned(),
        })
    }
}

impl CommandRequest {
    /// What the roster checks before it executes the command, and records with it.
    ///
    /// # Errors
    /// When a header is wrong.
    pub fn audited(&self, body: &Body, reason: Option<String>) -> Result<Audited, Problem> {
        Ok(Audited {
            actor: self.actor.0.clone(),
            reason,
            request_id: Some(self.request.0.clone()),
            if_match: if_match(&self.headers)?,
            idempotency: idempotency(&self.headers, &self.target(), &self.query, body)?,
        })
    }

    fn target(&self) -> RequestTarget<'_> {
        RequestTarget { method: &self.method, path: &self.path }
    }

    /// Reason for the command, from `?reason`.
    ///
    /// # Errors
    /// When the reason is too long or has control characters.
    pub fn reason(&self) -> Result<Option<String>, Problem> {
        let Some(reason) = self.query.text("reason") else { return Ok(None) };
        check_reason(reason).map_err(|error| invalid_parameter("reason", error.to_string()))?;
        Ok(Some(reason.to_owned()))
    }

    /// Time to wait for the effect, from `?wait`.
    ///
    /// # Errors
    /// When the value is not a time span or is too long.
    pub fn wait(&self) -> Result<Option<Duration>, Problem> {
        wait(&self.query)
    }
}

/// Length of the longest reason, in characters.
const LONGEST_REASON: usize = 1000;

/// A reason is too long or has control characters.
#[derive(Debug, thiserror::Error)]
#[error(
    "the reason must have at most {LONGEST_REASON} characters, and no control characters except line feed and tab"
)]
pub struct InvalidReason;

/// Checks a reason. Tables and logs show it, so it must be short and without control characters;
/// the database could not even store NUL.
///
/// # Errors
/// When the reason is too long or has control characters.
pub fn check_reason(reason: &str) -> Result<(), InvalidReason> {
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if reason.chars().count() <= LONGEST_REASON && !reason.contains(control) {
        return Ok(());
    }
    Err(InvalidReason)
}

/// Method and path of a request.
struct RequestTarget<'a> {
    method: &'a Method,
    path: &'a str,
}

/// Id of the command that an idempotency key identifies, with the digest of the request: its
/// method, path, query (except `wait`) and body.
fn idempotency(
    headers: &HeaderMap,
    target: &RequestTarget<'_>,
    query: &Query,
    body: &Body,
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = single_header(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        let detail = "Idempotency-Key must have 1 to 255 visible ASCII characters, such as a UUID";
        return Err(invalid_parameter("Idempotency-Key", detail.into()));
    }
    let mut digest = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        // The length comes first, so that two different requests never have the same bytes.
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(target.method.as_str().as_bytes());
    part(target.path.as_bytes());
    for (name, value) in query.pairs_without("wait") {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    part(b"body");
    part(&body.0);
    let fingerprint = digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok(Some(Idempotency { id: Uuid::new_v5(&KEYS, key.as_bytes()), fingerprint }))
}

fn wait(query: &Query) -> Result<Option<Duration>, Problem> {
    let right = "a time span up to 60s, such as 5s";
    match query.read::<Span>("wait", right)?.map(Span::duration) {
        Some(wait) if wait > LONGEST_WAIT => Err(invalid_parameter(
            "wait",
            format!("query parameter wait is too long; it must be {right}"),
        )),
        wait => Ok(wait),
    }
}

/// Value of a header that may appear only once.
fn single_header<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name).iter();
    let bad = |what| Err(invalid_parameter(name.as_str(), format!("the header {name} {what}")));
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => bad("appears twice"),
        (Some(value), None) => match value.to_str() {
            Ok(text) => Ok(Some(text)),
            Err(_) => bad("is not visible ASCII"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Bytes;

    fn with(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn if_match_is_one_quoted_version_or_a_star() {
        let read = |value| if_match(&with(header::IF_MATCH, value));
        assert_eq!(read("\"12\"").unwrap(), Some(12));
        assert_eq!(read("*").unwrap(), None);
        for wrong in ["12", "W/\"12\"", "\"1\", \"2\"", "\"x\"", "\"\"", "\"+1\""] {
            assert_eq!(read(wrong).unwrap_err().kind().status, 400, "{wrong}");
        }
        assert_eq!(if_match(&with(header::IF_MATCH, etag(7).to_str().unwrap())).unwrap(), Some(7));
    }

    #[test]
    fn a_key_identifies_a_command_and_its_digest_the_request() {
        let key = |key: &str, method: &Method, path: &str, body: &'static str| {
            let body = Body(Bytes::from_static(body.as_bytes()));
            let target = RequestTarget { method, path };
            idempotency(&with(IDEMPOTENCY_KEY, key), &target, &Query::default(), &body)
        };
        let first = key("k", &Method::POST, "/listeners", "{}").unwrap().unwrap();
        let repeated = key("k", &Method::POST, "/listeners", "{}").unwrap().unwrap();
        assert_eq!((repeated.id, repeated.fingerprint), (first.id, first.fingerprint));
        for (method, path, body) in [
            (Method::DELETE, "/listeners", "{}"),
            (Method::POST, "/listeners/a", "{}"),
            (Method::POST, "/listeners", "{ }"),
        ] {
            let other = key("k", &method, path, body).unwrap().unwrap();
            assert_eq!(other.id, first.id);
            assert_ne!(other.fingerprint, first.fingerprint);
        }
        assert_ne!(key("l", &Method::POST, "/listeners", "{}").unwrap().unwrap().id, first.id);
        for wrong in ["", "with space", &"x".repeat(256)] {
            assert!(key(wrong, &Method::POST, "/", "").is_err(), "{wrong:?}");
        }
    }
}
