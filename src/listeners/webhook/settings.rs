//! Configuration of class `webhook`.

use super::{policy::WebhookPolicy, signature};
use crate::{
    domain::{admission::ConfigurationError, listener::Configuration, span::Span},
    listeners::{secrets::is_reference, settings::Reader},
};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use serde_json::{Value, json};
use url::Url;

/// Default of the longest time that a receiver may take to answer.
const TIMEOUT: Span = Span::from_secs(10);

/// Headers that control how the request travels, and headers that hearken sets.
const RESERVED: [&str; 11] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// An accepted configuration. Values that are references are left out.
pub(super) struct Settings {
    pub(super) url: Option<Url>,
    pub(super) key: Option<hmac::Key>,
    pub(super) headers: HeaderMap,
    pub(super) timeout: Span,
}

pub(super) fn schema() -> Value {
    let reference = |description: &str| {
        json!({
            "type": "object",
            "description": description,
            "minProperties": 1,
            "maxProperties": 1,
            "additionalProperties": false,
            "properties": {
                "env": {"type": "string", "pattern": "^HEARKEN_SECRET_[A-Z0-9_]+$"},
                "file": {"type": "string", "pattern": "^[^./\\\\][^/\\\\]*$"}
            }
        })
    };
    let text_or = |description: &str| {
        let looked_up = reference("A value that the node looks up when it starts the listener.");
        json!({ "description": description, "oneOf": [{"type": "string"}, looked_up] })
    };
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["url"],
        "properties": {
            "url": text_or("The http or https URL that events are posted to, without user and password."),
            "secret": reference("Reference to the secret that signs each event: whsec_ and the base64 of 24 to 64 bytes, as Standard Webhooks says."),
            "headers": {
                "type": "object",
                "description": "Further headers of each request, by name.",
                "additionalProperties": text_or("The header's value.")
            },
            "timeout": {
                "type": "string",
                "pattern": "^[0-9]+(ms|s|m|h|d)$",
                "default": TIMEOUT.to_string(),
                "description": "Longest time that the receiver may take to answer, from 100ms to 25m."
            }
        }
    })
}

/// Reads a configuration.
pub(super) fn read(
    configuration: &Configuration,
    policy: &WebhookPolicy,
) -> Result<Settings, Vec<ConfigurationError>> {
    let mut reader = Reader::new(configuration);
    reader.require("url", "is missing; it must be the URL that events are posted to");
    let url = reader.field("url", |value| url(value, policy));
    let key = reader.field("secret", |value| match value.as_str() {
        Some(secret) => signature::key(secret),
        None => Err("is not a text; it must be whsec_ and base64, or a reference".to_owned()),
    });
    let timeout = reader.field("timeout", timeout).unwrap_or(TIMEOUT);
    let headers = reader.field("headers", |value| {
        value
            .as_object()
            .ok_or_else(|| "is not an object; it must have header names and values".to_owned())
    });
    if configuration.get("headers").is_some_and(is_reference) {
        let problem = "reads as a reference; only the value of a single header can be a reference";
        reader.refuse(&["headers"], problem.to_owned());
    }
    let mut map = HeaderMap::new();
    for (name, value) in headers.into_iter().flatten() {
        match header(name, value) {
            Ok(Some((name, value))) => drop(map.append(name, value)),
            Ok(None) => {}
            Err(problem) => reader.refuse(&["headers", name], problem),
        }
    }
    reader.finish()?;
    Ok(Settings { url, key, headers: map, timeout })
}

fn url(value: &Value, policy: &WebhookPolicy) -> Result<Url, String> {
    let text = value.as_str().ok_or("is not a text; it must be a URL or a reference")?;
    let url = Url::parse(text)
        .map_err(|error| format!("is not a URL ({error}); write http://host/path"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(format!("has the scheme {}; it must be http or https", url.scheme()));
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(
            "has a user or password in it; put them into headers as Authorization, as a reference"
                .to_owned(),
        );
    }
    let host = url.host().ok_or("has no host; write http://host/path")?;
    policy.check_literal(&host).map_err(|refused| refused.to_string())?;
    Ok(url)
}

fn timeout(value: &Value) -> Result<Span, String> {
    let text = value.as_str().ok_or("is not a text; write a length of time such as 10s")?;
    let span: Span = text.parse().map_err(|error| format!("{error}"))?;
    if (100..=25 * 60_000).contains(&span.as_millis()) {
        return Ok(span);
    }
    Err(format!("is {span}; it must be between 100ms and 25m"))
}

/// Reads a header; `None` when its value is a reference. An error does not contain the value.
fn header(name: &str, value: &Value) -> Result<Option<(HeaderName, HeaderValue)>, String> {
    let header = HeaderName::from_bytes(name.as_bytes())
        .map_err(|_| "is not a header name (RFC 9110, section 5.1)".to_owned())?;
    let ours = header.as_str().starts_with("webhook-") || header.as_str().starts_with("proxy-");
    if ours || RESERVED.contains(&header.as_str()) {
        return Err("is a header that hearken sets itself".to_owned());
    }
    if is_reference(value) {
        return Ok(None);
    }
    let text = value.as_str().ok_or("has a value that is neither a text nor a reference")?;
    let mut value = HeaderValue::from_str(text)
        .map_err(|_| "has a value with characters that no header can have".to_owned())?;
    value.set_sensitive(true);
    Ok(Some((header, value)))
}

/// Mistakes for secrets that are written out. The roster keeps a configuration for ever and shows
/// it, so a secret must be given as a reference.
pub(super) fn written_out(configuration: &Configuration) -> Vec<ConfigurationError> {
    let error = |pointer: String| {
        ConfigurationError {
        pointer,
        problem: "is a secret, which the roster would keep and show; give it as {\"env\": \"HEARKEN_SECRET_NAME\"} or {\"file\": \"name\"}, which each node reads itself".to_owned(),
    }
    };
    let mut errors = Vec::new();
    if configuration.get("secret").is_some_and(Value::is_string) {
        errors.push(error("/secret".to_owned()));
    }
    let headers = configuration.get("headers").and_then(Value::as_object);
    for (name, value) in headers.into_iter().flatten() {
        let credentials = ["authorization", "proxy-authorization", "cookie"];
        if value.is_string() && credentials.contains(&name.to_ascii_lowercase().as_str()) {
            errors.push(error(format!("/headers/{name}")));
        }
    }
    errors
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        clock::Clock,
        listeners::{Class, webhook::Webhook},
    };

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn check(value: Value) -> Result<(), Vec<ConfigurationError>> {
        let class = Webhook::new(WebhookPolicy::default(), Clock::system());
        class.validate(&serde_json::from_value(value).unwrap())
    }

    #[test]
    fn a_secret_that_is_written_out_is_refused_and_a_reference_is_not() {
        let configuration = json!({
            "url": "http://example.org", "secret": SECRET,
            "headers": {"Authorization": "Bearer x", "X-Team": "search", "Cookie": {"env": "HEARKEN_SECRET_C"}},
        });
        let errors = written_out(configuration.as_object().unwrap());
        let pointers: Vec<_> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/secret", "/headers/Authorization"]);
    }

    #[test]
    fn a_configuration_with_references_is_accepted_before_they_are_resolved() {
        let reference = json!({"env": "HEARKEN_SECRET_X"});
        for value in [
            json!({"url": "https://example.org/hook?x=1"}),
            json!({"url": reference, "secret": {"file": "x"}, "timeout": "3s",
                   "headers": {"Authorization": reference, "x-a": "b"}}),
        ] {
            assert_eq!(check(value.clone()), Ok(()), "{value}");
            let schema = jsonschema::validator_for(&schema()).unwrap();
            assert!(schema.is_valid(&value), "{value}");
        }
    }

    #[test]
    fn every_mistake_is_reported_at_once_with_its_place() {
        let errors = check(json!({
            "url": "ftp://example.org", "secret": 5, "timeout": "5", "retries": 3,
            "headers": {"Webhook-Id": "x", "a b": "x", "ok": 5, "x": "a\nb", "Host": "h"},
        }))
        .unwrap_err();
        let found: Vec<_> = errors.iter().map(|e| e.pointer.as_str()).collect();
        let expected = [
            "/url",
            "/secret",
            "/timeout",
            "/headers/Host",
            "/headers/Webhook-Id",
            "/headers/a b",
            "/headers/ok",
            "/headers/x",
            "/retries",
        ];
        assert_eq!(found, expected, "{errors:?}");
    }

    #[test]
    fn a_wrong_url_says_what_would_be_right() {
        for (url, problem) in [
            (json!(null), "is not a text"),
            (json!(""), "is not a URL"),
            (json!("example.org/x"), "is not a URL"),
            (json!("http://u:p@example.org"), "put them into headers as Authorization"),
            (json!("http://0x7f.1/"), "--webhook-allow 127.0.0.1"),
            (json!("http://[::ffff:10.0.0.1]/"), "is a private address"),
            (json!("http://169.254.169.254/"), "is a link-local address"),
        ] {
            let errors = check(json!({ "url": url })).unwrap_err();
            assert!(errors[0].problem.contains(problem), "{url}: {errors:?}");
        }
        assert_eq!(check(json!({})).unwrap_err()[0].pointer, "/url");
    }

    #[test]
    fn headers_as_a_whole_are_not_a_reference() {
        let errors =
            check(json!({"url": "http://example.org", "headers": {"env": "HEARKEN_SECRET_X"}}))
                .unwrap_err();
        assert!(errors[0].problem.starts_with("reads as a reference"));
    }
}
