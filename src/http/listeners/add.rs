//! Adding a listener.

use super::view::{ListenerView, configured_by};
use crate::{
    config::DEFAULT_BUS,
    domain::{
        command::Command,
        listener::{ListenerSpec, default_concurrency, default_timeout},
        name::{BusName, ClassName, GroupName},
        retry::Retry,
    },
    http::{
        App,
        body::{Body, Fields},
        precondition::{CommandRequest, check_reason, etag},
        problem::{Problem, kinds},
        schema,
    },
};
use axum::{
    Json,
    extract::State,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde_json::{Map, Value};
use std::sync::Arc;
use utoipa::ToSchema;

/// A listener to add. Only the class must be given.
#[derive(ToSchema)]
#[schema(example = json!({
    "class": "webhook",
    "group": "search-index",
    "configuration": {"url": "http://indexer.internal/events"},
    "reason": "CHG-1234",
}))]
pub struct NewListener {
    /// What nodes instantiate it from (`GET /classes`).
    pub class: String,
    /// Its identity; the class's name where it is not given. Not `history`.
    pub group: Option<String>,
    /// The bus it listens to; `mailboxEvent` where it is not given.
    pub bus: Option<String>,
    /// Once in the cluster (the default), or on every node.
    pub delivery: Option<schema::DeliverySchema>,
    /// Whether a local dispatch waits for it; `async` where it is not given.
    pub mode: Option<schema::ModeSchema>,
    /// Executions at the same time on one node; 10 where it is not given.
    #[schema(minimum = 1, maximum = 1000)]
    pub concurrency: Option<u16>,
    /// How long one execution may take: 100ms to 25m; 10m where it is not given.
    #[schema(example = "10m")]
    pub timeout: Option<String>,
    /// When a failed event is tried again.
    pub retry: Option<NewRetry>,
    /// What the class is told. A value may be `{"env": "NAME"}` or `{"file": "path"}`, which each
    /// node resolves for itself.
    pub configuration: Option<Map<String, Value>>,
    /// Why it is added; kept in the history.
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}

/// When a failed event is tried again.
#[derive(ToSchema)]
pub struct NewRetry {
    /// Retries after the first execution; 8 where it is not given.
    #[schema(maximum = 100)]
    pub attempts: Option<u32>,
    /// The pause before the first retry, which doubles each time; 100ms where it is not given.
    pub first: Option<String>,
    /// The longest pause, before the jitter; 10s where it is not given.
    pub max: Option<String>,
    /// The share of a pause that may be added to it at random; 0.5 where it is not given.
    #[schema(minimum = 0, maximum = 1)]
    pub jitter: Option<f64>,
}

/// Add a listener
///
/// The answer comes when the change is in the roster, on every node's behalf; with `wait`, when
/// the broker follows too or the time is over. `topology` says which.
#[utoipa::path(
    post, path = "/listeners", tag = "listeners", operation_id = "addListener",
    params(
        ("wait" = Option<String>, Query, description = "Wait for the broker to follow, at most so long (up to 60s).", example = "5s"),
        ("If-Match" = Option<String>, Header, description = "Only when the roster has this version, as its ETag has it.", nullable = false),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the command: sending it again changes nothing and answers the same.", nullable = false),
    ),
    request_body = NewListener,
    responses((status = 201, description = "The listener is in the roster.", body = ListenerView,
        headers(("Location" = String, description = "The listener."),
            ("ETag" = String, description = "The roster's version, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "invalid-body", "group-in-use", "unknown-class",
        "unknown-bus", "invalid-configuration", "invalid-setting", "stale-version", "command-reused",
        "body-too-large", "unsupported-media-type", "timeout", "contention", "store-unavailable"]))),
)]
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let (listener, reason) = read(Fields::from_body(&request.headers, &body)?)?;
    let wait = request.wait()?;
    let audited = request.audited(&body, reason)?;
    let outcome = app.roster.execute(Command::AddListener(listener), audited).await?;
    let added = outcome.events.iter().find_map(configured_by);
    let added = added.ok_or_else(|| Problem::internal("an addition led to no addition"))?;
    if let Some(wait) = wait {
        app.reconciler.wait_for(added.version, wait).await;
    }
    // The listener is in the roster: not knowing the topology is no reason to say otherwise.
    let status = app.store.topology_status().await.unwrap_or_default();
    let location = format!("/listeners/{}", added.listener.group);
    let location = HeaderValue::from_str(&location).expect("names are plain ASCII");
    let headers = [(header::LOCATION, location), (header::ETAG, etag(added.version))];
    let view = ListenerView::new(&app, &added, &status);
    Ok((StatusCode::CREATED, headers, Json(view)).into_response())
}

fn read(mut fields: Fields) -> Result<(ListenerSpec, Option<String>), Problem> {
    let class = ClassName::parse(fields.required_text("class")?)?;
    let group = match fields.text("group")? {
        Some(group) => GroupName::parse(group)?,
        None => GroupName::parse(class.as_str())?,
    };
    if group.as_str() == "history" {
        let detail = "group history cannot be had: /listeners/history is the roster's history; choose another group";
        return Err(Problem::new(&kinds::INVALID_NAME, detail).with("value", "history"));
    }
    let bus = BusName::parse(fields.text("bus")?.unwrap_or_else(|| DEFAULT_BUS.to_owned()))?;
    let listener = ListenerSpec {
        class,
        group,
        bus,
        delivery: fields.read("delivery")?.unwrap_or_default(),
        mode: fields.read("mode")?.unwrap_or_default(),
        concurrency: fields.read("concurrency")?.unwrap_or_else(default_concurrency),
        timeout: fields.read("timeout")?.unwrap_or_else(default_timeout),
        retry: fields.fields("retry")?.map(retry).transpose()?.unwrap_or_default(),
        configuration: fields.free("configuration")?.unwrap_or_default(),
    };
    let reason = fields.checked_text("reason", check_reason)?;
    fields.end()?;
    Ok((listener, reason))
}

fn retry(mut fields: Fields) -> Result<Retry, Problem> {
    let default = Retry::default();
    let retry = Retry {
        attempts: fields.read("attempts")?.unwrap_or(default.attempts),
        first: fields.read("first")?.unwrap_or(default.first),
        max: fields.read("max")?.unwrap_or(default.max),
        jitter: fields.read("jitter")?.unwrap_or(default.jitter),
    };
    fields.end()?;
    Ok(retry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Bytes, http::HeaderMap};
    use serde_json::json;

    fn parsed(body: &Value) -> Result<(ListenerSpec, Option<String>), Problem> {
        let body = Body(Bytes::from(body.to_string()));
        read(Fields::from_body(&HeaderMap::new(), &body).unwrap())
    }

    #[test]
    fn only_the_class_must_be_given() {
        let (listener, reason) = parsed(&json!({"class": "log"})).unwrap();
        assert_eq!((listener.group.as_str(), listener.bus.as_str()), ("log", "mailboxEvent"));
        assert_eq!((listener.retry, reason), (Retry::default(), None));
    }

    #[test]
    fn a_partly_given_retry_keeps_the_other_defaults() {
        let (listener, _) = parsed(&json!({"class": "log", "retry": {"attempts": 2}})).unwrap();
        assert_eq!(listener.retry, Retry { attempts: 2, ..Retry::default() });
    }

    #[test]
    fn what_is_wrong_is_told_apart() {
        for (body, slug) in [
            (json!({"class": "a b"}), "invalid-name"),
            (json!({"class": "log", "group": ""}), "invalid-name"),
            (json!({"class": "log", "group": "history"}), "invalid-name"),
            (json!({}), "invalid-body"),
            (json!({"class": "log", "delivery": "twice"}), "invalid-body"),
            (json!({"class": "log", "concurrency": 70000}), "invalid-body"),
            (json!({"class": "log", "timeout": 5}), "invalid-body"),
            (json!({"class": "log", "retry": {"attempt": 2}}), "invalid-body"),
            (json!({"class": "log", "configuration": []}), "invalid-body"),
            (json!({"class": "log", "extra": true}), "invalid-body"),
        ] {
            assert_eq!(parsed(&body).unwrap_err().kind().slug, slug, "{body}");
        }
    }
}
