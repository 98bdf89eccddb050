//! Problems of the server (RFC 9457), as the command line shows them.

use super::terminal::clean;
use reqwest::StatusCode;
use serde_json::{Map, Value};
use std::fmt;

/// Media type of problems.
const PROBLEM_JSON: &str = "application/problem+json";

/// Answer of the server that is not a success.
#[derive(Debug)]
pub(super) struct ServerProblem {
    status: StatusCode,
    members: Map<String, Value>,
}

impl ServerProblem {
    /// Reads an answer that is not a success. An answer that hearken did not write, such as the
    /// page of a proxy, is shown by its first 200 characters.
    #[must_use]
    pub(super) fn read(status: StatusCode, content_type: &str, text: &str) -> Self {
        let parsed = content_type
            .starts_with(PROBLEM_JSON)
            .then(|| serde_json::from_str::<Map<String, Value>>(text).ok())
            .flatten();
        let members = parsed.unwrap_or_else(|| {
            let beginning: String = text.chars().take(200).collect();
            let detail = format!(
                "the answer is {}, so hearken did not write it; it begins: {beginning}",
                if content_type.is_empty() { "of no type" } else { content_type }
            );
            Map::from_iter([("detail".to_owned(), Value::from(detail))])
        });
        Self { status, members }
    }

    /// Tells whether the request was wrong. Otherwise the server failed.
    #[must_use]
    pub(super) fn is_refusal(&self) -> bool {
        self.status.is_client_error()
    }

    /// Tells whether the server stopped waiting for the end of a task.
    #[must_use]
    pub(super) fn is_timeout(&self) -> bool {
        self.status == StatusCode::REQUEST_TIMEOUT
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member)?.as_str()
    }

    /// Last segment of the URI of the problem's type.
    #[must_use]
    pub(super) fn slug(&self) -> &str {
        self.text("type").and_then(|kind| kind.rsplit('/').next()).unwrap_or_default()
    }

    /// Advice to the person at the command line.
    fn advice(&self) -> Option<&'static str> {
        Some(match self.slug() {
            "unauthorized" => {
                "Give --token or HEARKEN_TOKEN, or name the server's data directory with --data-dir; its file admin-token holds the generated token."
            }
            "forbidden" => "Use the administrator's token.",
            "group-in-use" => {
                "Change the present listener (hearken listeners change GROUP), remove it first, or choose another --group."
            }
            "cannot-change" => {
                "Add a listener of another group with the new settings, then remove this one with --pending drain."
            }
            "not-configured" => "hearken listeners list shows the configured groups.",
            "required-here" => {
                "Take the listener out of [[required]] in that node's configuration and restart it."
            }
            "unknown-class" => "hearken classes shows the classes that the node knows.",
            "invalid-configuration" => {
                "hearken classes --output json shows the schema of each class's configuration."
            }
            "stale-version" => "Read the roster again, then decide again.",
            "command-reused" => "Use a new --idempotency-key for a new command.",
            "blocked" => {
                "Check that the broker is the right one; then run hearken topology reconcile --rebuild."
            }
            "contention" | "busy" | "store-unavailable" => "Try again in a moment.",
            "broker-unavailable" => "hearken health shows which component is not reachable.",
            "not-accepted" => "Send the event again with the same id.",
            _ => return None,
        })
    }
}

impl fmt::Display for ServerProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.status.canonical_reason().unwrap_or("an unknown status");
        let title = self.text("title").unwrap_or(reason);
        let (code, slug) = (self.status.as_u16(), self.slug());
        let space = if slug.is_empty() { "" } else { " " };
        write!(f, "{} ({code}{space}{})", clean(title), clean(slug))?;
        if let Some(detail) = self.text("detail") {
            write!(f, "\n  {}", clean(detail))?;
        }
        for (name, value) in &self.members {
            let known = ["type", "title", "status", "detail", "instance"].contains(&name.as_str());
            let detail = self.text("detail").unwrap_or_default();
            if let Some(shown) = (!known).then(|| member(value, detail)).flatten() {
                write!(f, "\n  {}: {}", clean(name), clean(&shown))?;
            }
        }
        // The server's log has the cause under the id of the instance.
        if let Some(instance) = self.text("instance").filter(|_| self.status.is_server_error()) {
            write!(f, "\n  {}", clean(instance))?;
        }
        self.advice().map_or(Ok(()), |advice| write!(f, "\n  {advice}"))
    }
}

/// Member as one line: a scalar, a list of scalars, or the list of wrong fields. `None` when the
/// detail has the text already, and for objects, which only --output json shows.
fn member(value: &Value, detail: &str) -> Option<String> {
    match value {
        Value::Null | Value::Object(_) => None,
        Value::String(text) => (!detail.contains(text)).then(|| text.clone()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string()),
        Value::Array(values) => {
            let shown: Vec<_> = values.iter().filter_map(|value| item(value, detail)).collect();
            (!shown.is_empty()).then(|| shown.join(", "))
        }
    }
}

fn item(value: &Value, detail: &str) -> Option<String> {
    let text = match (value["pointer"].as_str(), value["problem"].as_str()) {
        (Some(""), Some(problem)) => problem.to_owned(),
        (Some(pointer), Some(problem)) => format!("{pointer}: {problem}"),
        _ if value.is_array() => return None,
        _ => return member(value, detail),
    };
    (!detail.contains(&text)).then_some(text)
}
