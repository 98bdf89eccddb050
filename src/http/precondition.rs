//! The headers with which a client guards its command, and how long it waits for the effect.

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

/// Names a command, so that it is never executed twice.
pub const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The longest a request waits for its effect.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// The name space of idempotency keys among version 5 UUIDs.
const KEYS: Uuid = Uuid::from_u128(0x8f1b_6c0a_43d5_4e6f_9a57_6a1c_7f0e_2d91);

/// The `ETag` of a roster's version.
///
/// # Panics
/// Never: digits are valid in a header.
#[must_use]
pub fn etag(version: Version) -> HeaderValue {
    HeaderValue::from_str(&format!("\"{version}\"")).expect("digits are valid in a header")
}

/// The version a client expects, from `If-Match`: one quoted version or `*`.
fn if_match(headers: &HeaderMap) -> Result<Option<Version>, Problem> {
    let Some(text) = single(headers, &header::IF_MATCH)? else { return Ok(None) };
    if text.trim() == "*" {
        return Ok(None);
    }
    let quoted = text.trim().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    let version = quoted.filter(|v| v.bytes().all(|b| b.is_ascii_digit()));
    version.and_then(|version| version.parse().ok()).map(Some).ok_or_else(|| {
        let detail = "If-Match must be one roster version in quotes, as the ETag of GET /listeners has it, such as \"12\"";
        invalid_parameter("If-Match", detail.into())
    })
}

/// A request that changes something: who asks, and under which conditions.
#[derive(Debug)]
pub struct CommandRequest {
    /// Who.
    pub actor: Actor,
    /// Under which id the log has it.
    pub request: RequestId,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its query.
    pub query: Query,
    method: Method,
    path: String,
}

impl<S: Send + Sync> FromRequestParts<S> for CommandRequest {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let query = Query::from_request_parts(parts, state).await?;
        let lacking =
            |what| Problem::internal(format!("a route that changes something has no {what}"));
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
    /// Everything that the roster records of a command and checks before it.
    ///
    /// # Errors
    /// When a header cannot be used.
    pub fn audited(&self, body: &Body, reason: Option<String>) -> Result<Audited, Problem> {
        let endpoint = (&self.method, self.path.as_str());
        Ok(Audited {
            actor: self.actor.0.clone(),
            reason,
            request_id: Some(self.request.0.clone()),
            if_match: if_match(&self.headers)?,
            idempotency: idempotency(&self.headers, endpoint, &self.query, body)?,
        })
    }

    /// The reason, from `?reason`.
    ///
    /// # Errors
    /// When it is too long or has control characters.
    pub fn reason(&self) -> Result<Option<String>, Problem> {
        let Some(reason) = self.query.text("reason") else { return Ok(None) };
        check_reason(reason).map_err(|detail| invalid_parameter("reason", detail))?;
        Ok(Some(reason.to_owned()))
    }

    /// How long to wait for the effect, from `?wait`.
    ///
    /// # Errors
    /// When it is no span or a too long one.
    pub fn wait(&self) -> Result<Option<Duration>, Problem> {
        wait(&self.query)
    }
}

/// The longest reason, in characters.
const LONGEST_REASON: usize = 1000;

/// Checks a reason. It is shown in tables and logs: it is short, and has no control characters (of
/// which NUL could not even be stored).
///
/// # Errors
/// What is wrong with it and what would be right.
pub fn check_reason(reason: &str) -> Result<(), String> {
    let control = |c: char| c.is_control() && c != '\n' && c != '\t';
    if reason.chars().count() <= LONGEST_REASON && !reason.contains(control) {
        return Ok(());
    }
    Err(format!(
        "the reason must have at most {LONGEST_REASON} characters, and no control character but line feed and tab"
    ))
}

/// What an idempotency key names: the command, and the digest of the request it stands for, which
/// is its method, path, query (but for `wait`) and body.
fn idempotency(
    headers: &HeaderMap,
    (method, path): (&Method, &str),
    query: &Query,
    body: &Body,
) -> Result<Option<Idempotency>, Problem> {
    let Some(key) = single(headers, &IDEMPOTENCY_KEY)? else { return Ok(None) };
    if !(1..=255).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
        let detail = "Idempotency-Key must have 1 to 255 visible ASCII characters, such as a UUID";
        return Err(invalid_parameter("Idempotency-Key", detail.into()));
    }
    let mut digest = Context::new(&SHA256);
    let mut part = |bytes: &[u8]| {
        // The length first, so that no two requests run together into the same bytes.
        digest.update(&(bytes.len() as u64).to_be_bytes());
        digest.update(bytes);
    };
    part(method.as_str().as_bytes());
    part(path.as_bytes());
    for (name, value) in query.without("wait") {
        part(name.as_bytes());
        part(value.as_bytes());
    }
    part(b"body");
    part(&body.0);
    let fingerprint = digest.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
    Ok(Some(Idempotency { id: Uuid::new_v5(&KEYS, key.as_bytes()), fingerprint }))
}

fn wait(query: &Query) -> Result<Option<Duration>, Problem> {
    let right = "a length of time up to 60s, such as 5s";
    match query.read::<Span>("wait", right)?.map(Span::duration) {
        Some(wait) if wait > LONGEST_WAIT => Err(invalid_parameter(
            "wait",
            format!("query parameter wait is too long; it must be {right}"),
        )),
        wait => Ok(wait),
    }
}

fn single<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Result<Option<&'a str>, Problem> {
    let mut all = headers.get_all(name).iter();
    let bad = |what| Err(invalid_parameter(name.as_str(), format!("the header {name} {what}")));
    match (all.next(), all.next()) {
        (None, _) => Ok(None),
        (Some(_), Some(_)) => bad("is given twice"),
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
    fn a_key_names_the_same_command_and_tells_requests_apart() {
        let key = |key: &str, method: &Method, path: &str, body: &'static str| {
            let body = Body(Bytes::from_static(body.as_bytes()));
            idempotency(&with(IDEMPOTENCY_KEY, key), (method, path), &Query::default(), &body)
        };
        let first = key("k", &Method::POST, "/listeners", "{}").unwrap().unwrap();
        let again = key("k", &Method::POST, "/listeners", "{}").unwrap().unwrap();
        assert_eq!((again.id, again.fingerprint), (first.id, first.fingerprint));
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
