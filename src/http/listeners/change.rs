//! Change of a listener in place.

use super::{
    add::{NewListener, read_settings},
    view::ListenerView,
};
use crate::{
    config::DEFAULT_BUS,
    domain::{
        command::Command,
        listener::{Delivery, ListenerSpec},
        name::{BusName, ClassName, GroupName},
        report::TopologyStatus,
    },
    http::{
        App,
        body::{Body, Fields, invalid_field},
        parameters::Segment,
        precondition::{CommandRequest, check_reason, etag},
        problem::Problem,
        schema::{CommandHeaderParams, WaitParams},
    },
};
use axum::{
    Json,
    extract::State,
    http::header,
    response::{IntoResponse, Response},
};
use std::sync::Arc;

/// Change a listener
///
/// Replaces the settings of a listener. Its queue and its bindings stay, so that no event is
/// missed. A setting that the body leaves out takes its default; the bus and the delivery stay, and
/// a body that names others is refused. A change to the settings that the listener has already is a
/// success and records nothing. A paused listener stays paused.
#[utoipa::path(
    put, path = "/listeners/{group}", tag = "listeners", operation_id = "changeListener",
    params(
        ("group" = String, Path, description = "Group of the listener."),
        WaitParams,
        CommandHeaderParams,
    ),
    request_body = NewListener,
    responses((status = 200, description = "The roster has the settings.", body = ListenerView,
        headers(("ETag" = String, description = "Version of the roster, in quotes.")))),
    extensions(("x-problems" = json!(["invalid-name", "invalid-body", "not-configured", "cannot-change",
        "unknown-class", "invalid-configuration", "invalid-setting", "stale-version", "command-reused",
        "unknown-bus", "outdated-node", "body-too-large", "unsupported-media-type", "timeout", "contention",
        "store-unavailable"]))),
)]
pub(crate) async fn change(
    State(app): State<Arc<App>>,
    Segment(group): Segment<GroupName>,
    request: CommandRequest,
    body: Body,
) -> Result<Response, Problem> {
    let asked = Change::read(&group, Fields::from_body(&request.headers, &body)?)?;
    let wait = request.wait()?;
    let audited = request.audited(&body, asked.reason.clone())?;
    let roster = app.roster.current().await?;
    let listener = asked.of_listener(&roster.configured(&group)?.listener);
    let outcome = app.roster.execute(Command::ChangeListener(listener), audited).await?;
    let roster = app.roster.after(&outcome).await?;
    let changed = roster.configured(&group)?;
    if let Some(wait) = wait {
        let layout = app.roster.layout();
        let is_there = |status: &TopologyStatus| status.has_listener(layout, changed);
        app.reconciler.wait_until(wait, is_there).await;
    }
    let view = ListenerView::after_command(&app, &roster, changed).await;
    Ok(([(header::ETAG, etag(outcome.version))], Json(view)).into_response())
}

/// Change that a body describes.
#[derive(Debug)]
struct Change {
    /// Settings with the bus and the delivery of the default listener.
    settings: ListenerSpec,
    bus: Option<BusName>,
    delivery: Option<Delivery>,
    reason: Option<String>,
}

impl Change {
    fn read(group: &GroupName, mut fields: Fields) -> Result<Self, Problem> {
        let class = ClassName::parse(fields.required_text("class")?)?;
        if let Some(other) = fields.text("group")?.filter(|other| other != group.as_str()) {
            let detail = format!(
                "/group is {other:?}, but the address names group {group}; a listener keeps its group"
            );
            return Err(invalid_field("/group", detail));
        }
        let bus = fields.text("bus")?.map(BusName::parse).transpose()?;
        let delivery = fields.read("delivery")?;
        let base = ListenerSpec::new(group.clone(), class, BusName::parse(DEFAULT_BUS)?);
        let settings = read_settings(&mut fields, base)?;
        let reason = fields.checked_text("reason", check_reason)?;
        fields.end()?;
        Ok(Self { settings, bus, delivery, reason })
    }

    /// The settings for a listener, whose bus and delivery stay when the body leaves them out.
    fn of_listener(self, present: &ListenerSpec) -> ListenerSpec {
        ListenerSpec {
            bus: self.bus.unwrap_or_else(|| present.bus.clone()),
            delivery: self.delivery.unwrap_or(present.delivery),
            ..self.settings
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fixtures::listener;
    use axum::{body::Bytes, http::HeaderMap};
    use serde_json::{Value, json};

    fn parsed(body: &Value) -> Result<Change, Problem> {
        let body = Body(Bytes::from(body.to_string()));
        Change::read(&listener("a").group, Fields::from_body(&HeaderMap::new(), &body).unwrap())
    }

    #[test]
    fn an_absent_bus_and_an_absent_delivery_are_those_of_the_listener() {
        let mut present = listener("a");
        present.delivery = Delivery::EveryNode;
        present.bus = BusName::parse("jmapEvent").unwrap();
        let wanted = parsed(&json!({"class": "log", "concurrency": 3})).unwrap();
        let expected = ListenerSpec { concurrency: 3, ..present.clone() };
        assert_eq!(wanted.of_listener(&present), expected);
    }

    #[test]
    fn a_body_that_names_another_group_than_the_address_is_refused() {
        assert!(parsed(&json!({"class": "log", "group": "a"})).is_ok());
        let problem = parsed(&json!({"class": "log", "group": "b"})).unwrap_err();
        assert_eq!(problem.body("r")["pointer"], "/group");
    }
}
