//! Addition of a listener.

use super::view::{ListenerView, configured_by};
use crate::{
    config::DEFAULT_BUS,
    domain::{
        command::Command,
        listener::{ListenerSpec, default_concurrency, default_timeout, is_address},
        name::{BusName, ClassName, GroupName},
        report::TopologyStatus,
        retry::Retry,
    },
    http::{
        App,
        body::{Body, Fields},
        precondition::{CommandRequest, check_reason, etag},
        problem::{Problem, kinds},
        schema::{self, CommandHeaderParams, WaitParams},
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

/// Listener to add. Only the class is required.
#[derive(ToSchema)]
#[schema(example = json!({
    "class": "webhook",
    "group": "search-index",
    "configuration": {"url": "http://indexer.internal/events"},
    "reason": "CHG-1234",
}))]
pub struct NewListener {
    /// Class that nodes instantiate the listener from (`GET /classes`).
    pub class: String,
    /// Group: the identity of the listener; the name of the class if absent. Cannot be `history` or
    /// `diff`.
    pub group: Option<String>,
    /// Bus whose events the listener receives; `mailboxEvent` if absent.
    pub bus: Option<String>,
    /// Whether one node of the cluster (the default) or every node executes an event.
    pub delivery: Option<schema::DeliverySchema>,
    /// Whether a dispatch in the same process waits for the listener; `async` if absent.
    pub mode: Option<schema::ModeSchema>,
    /// Largest number of concurrent executions on one node; 10 if absent.
    #[schema(minimum = 1, maximum = 1000)]
    pub concurrency: Option<u16>,
    /// Longest time that one execution may take: 100ms to 25m; 10m if absent.
    #[schema(example = "10m")]
    pub timeout: Option<String>,
    /// When a failed event is tried again.
    pub retry: Option<NewRetry>,
    /// Configuration that is passed to the class. A value may be `{"env": "HEARKEN_SECRET_NAME"}`
    /// or `{"file": "name"}`: each node replaces it by the variable or the file of its own machine.
    pub configuration: Option<Map<String, Value>>,
    /// Reason for the addition, kept in the history.
    #[schema(max_length = 1000)]
    pub reason: Option<String>,
}

/// When a failed event is tried again.
#[derive(ToSchema)]
pub struct NewRetry {
    /// Number of retries after the first execution; 8 if absent.
    #[schema(maximum = 100)]
    pub attempts: Option<u32>,
    /// Pause before the first retry; each further pause is twice as long. 100ms if absent.
    pub first: Option<String>,
    /// Longest pause, before jitter is added; 10s if absent.
    pub max: Option<String>,
    /// Largest share of a pause that is added to it at random; 0.5 if absent.
    #[schema(minimum = 0, maximum = 1)]
    pub jitter: Option<f64>,
}

/// Add a listener
///
/// The answer comes when the roster has the listener, which all nodes then run. With `wait`, it
/// comes when the broker has the queue of the listener, too, or when the time is over; the member
/// `topology` tells which.
#[utoipa::path(
    post, path = "/listeners", tag = "listeners", operation_id = "addListener",
    params(
        WaitParams,
        CommandHeaderParams,
    ),
    request_body = NewListener,
    responses((status = 201, description = "The roster has the listener.", body = ListenerView,
        headers(("Location" = String, description = "Address of the listener."),
            ("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "invalid-body", "group-in-use", "unknown-class",
        "unknown-bus", "invalid-configuration", "invalid-setting", "stale-version", "command-reused",
        "outdated-node", "body-too-large", "unsupported-media-type", "timeout", "contention", "store-unavailable"]))),
)]
pub(crate) async fn add(
    State(app): State<Arc<App>>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let Addition { listener, reason } =
        Addition::read(Fields::from_body(&request.headers, &body)?)?;
    let wait = request.wait()?;
    let audited = request.audited(&body, reason)?;
    let outcome = app.roster.execute(Command::AddListener(listener), audited).await?;
    let added = outcome.events.iter().find_map(configured_by);
    let added = added
        .ok_or_else(|| Problem::internal("the command to add a listener recorded no addition"))?;
    if let Some(wait) = wait {
        let layout = app.roster.layout();
        let is_there = |status: &TopologyStatus| status.has_listener(layout, &added);
        app.reconciler.wait_until(wait, is_there).await;
    }
    let location = format!("/listeners/{}", added.listener.group);
    let location = HeaderValue::from_str(&location).expect("names are plain ASCII");
    let headers = [(header::LOCATION, location), (header::ETAG, etag(added.version))];
    let view = ListenerView::after_command(&app, &app.roster.known(), &added).await;
    Ok((StatusCode::CREATED, headers, Json(view)).into_response())
}

/// Addition that a body describes.
///
/// The fields are taken one by one, not by a derived reader: each is refused in its own way (a
/// wrong name is another problem than a wrong type), with its pointer and the known fields.
#[derive(Debug)]
struct Addition {
    listener: ListenerSpec,
    reason: Option<String>,
}

impl Addition {
    fn read(mut fields: Fields) -> Result<Self, Problem> {
        let class = ClassName::parse(fields.required_text("class")?)?;
        let group = match fields.text("group")? {
            Some(group) => GroupName::parse(group)?,
            None => GroupName::parse(class.as_str())?,
        };
        if is_address(&group) {
            let detail = format!(
                "group {group} cannot be used, because /listeners/{group} shows changes of the roster; choose another group"
            );
            return Err(Problem::new(&kinds::INVALID_NAME, detail).with("value", group));
        }
        let bus = BusName::parse(fields.text("bus")?.unwrap_or_else(|| DEFAULT_BUS.to_owned()))?;
        let delivery = fields.read("delivery")?.unwrap_or_default();
        let listener = read_settings(
            &mut fields,
            ListenerSpec { delivery, ..ListenerSpec::new(group, class, bus) },
        )?;
        let reason = fields.checked_text("reason", check_reason)?;
        fields.end()?;
        Ok(Self { listener, reason })
    }
}

/// Reads the settings that a change may change. An absent setting takes its default.
///
/// # Errors
/// When a field has the wrong type or a value that its type refuses.
pub(super) fn read_settings(
    fields: &mut Fields,
    listener: ListenerSpec,
) -> Result<ListenerSpec, Problem> {
    Ok(ListenerSpec {
        mode: fields.read("mode")?.unwrap_or_default(),
        concurrency: fields.read("concurrency")?.unwrap_or_else(default_concurrency),
        timeout: fields.read("timeout")?.unwrap_or_else(default_timeout),
        retry: fields.fields("retry")?.map(read_retry).transpose()?.unwrap_or_default(),
        configuration: fields.object("configuration")?.unwrap_or_default(),
        ..listener
    })
}

fn read_retry(mut fields: Fields) -> Result<Retry, Problem> {
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

    fn parsed(body: &Value) -> Result<Addition, Problem> {
        let body = Body(Bytes::from(body.to_string()));
        Addition::read(Fields::from_body(&HeaderMap::new(), &body).unwrap())
    }

    #[test]
    fn only_the_class_is_required() {
        let Addition { listener, reason } = parsed(&json!({"class": "log"})).unwrap();
        assert_eq!((listener.group.as_str(), listener.bus.as_str()), ("log", "mailboxEvent"));
        assert_eq!((listener.retry, reason), (Retry::default(), None));
    }

    #[test]
    fn a_partly_given_retry_keeps_the_other_defaults() {
        let Addition { listener, .. } =
            parsed(&json!({"class": "log", "retry": {"attempts": 2}})).unwrap();
        assert_eq!(listener.retry, Retry { attempts: 2, ..Retry::default() });
    }

    #[test]
    fn each_wrong_value_has_the_problem_that_names_its_kind() {
        for (body, slug) in [
            (json!({"class": "a b"}), "invalid-name"),
            (json!({"class": "log", "group": ""}), "invalid-name"),
            (json!({"class": "log", "group": "history"}), "invalid-name"),
            (json!({"class": "log", "group": "diff"}), "invalid-name"),
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
