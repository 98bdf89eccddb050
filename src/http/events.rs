//! `/events/{bus}`: events in.

use super::{
    App,
    body::{Body, content_type},
    parameters::Segment,
    problem::{Problem, kinds},
};
use crate::{
    bus::{
        codec::{self, CLOUDEVENTS_BATCH_JSON, CLOUDEVENTS_JSON},
        event::Event,
    },
    domain::{listener::Delivery, name::BusName},
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;

/// An event was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Its id, as its producer gave it.
    event_id: String,
}

/// A batch of events was accepted.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchAccepted {
    /// Their ids, in the order of the batch.
    event_ids: Vec<String>,
}

/// Either.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AcceptedEvents {
    /// One event.
    One(Accepted),
    /// A batch.
    Batch(BatchAccepted),
}

/// Dispatch an event
///
/// A `CloudEvent` (structured, a batch of them, or binary with `ce-` headers), or the bus's own
/// JSON, which is James's. The answer comes when the event is safe. Sending the same event again
/// delivers it again.
#[utoipa::path(
    post, path = "/events/{bus}", tag = "events", operation_id = "dispatchEvent",
    params(("bus" = String, Path, description = "The bus.", example = "mailboxEvent")),
    request_body(description = "The event.", content(
        (Value = "application/cloudevents+json", example = json!({"specversion": "1.0", "id": "1", "source": "/mail", "type": "Added", "data": {"mailbox": "18"}})),
        (Vec<Value> = "application/cloudevents-batch+json"),
        (Value = "application/json", example = json!({"MailboxAdded": {"eventId": "6e0dd59d-660e-4d9b-b22f-0354479f47b4", "user": "bob", "mailboxId": "18"}})),
        ("text/plain"),
        ("*/*"),
    )),
    responses((status = 202, description = "The bus has it.", body = AcceptedEvents)),
    extensions(("x-problems" = json!(["invalid-name", "invalid-body", "invalid-event", "not-found",
        "body-too-large", "unsupported-media-type", "timeout", "not-accepted"]))),
)]
pub(crate) async fn dispatch(
    State(app): State<Arc<App>>,
    Segment(bus): Segment<BusName>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !app.roster.buses().contains(&bus) {
        let known = app.roster.buses();
        let names: Vec<&str> = known.iter().map(BusName::as_str).collect();
        let detail = format!("there is no bus {bus}; the cluster has {}", names.join(", "));
        return Err(Problem::new(&kinds::NOT_FOUND, detail).with("known", known));
    }
    let (events, batch) = read(&headers, &body)?;
    let has_listeners = has_listeners(&app, &bus);
    let mut event_ids = Vec::with_capacity(events.len());
    for event in events {
        if let Err(error) = app.bus.dispatch(&bus, &event, has_listeners).await {
            let problem = Problem::from(error);
            return Err(if batch { problem.with("accepted", event_ids) } else { problem });
        }
        event_ids.push(event.id);
    }
    let accepted = match event_ids.pop() {
        Some(event_id) if !batch => AcceptedEvents::One(Accepted { event_id }),
        last => {
            event_ids.extend(last);
            AcceptedEvents::Batch(BatchAccepted { event_ids })
        }
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// The events of a request, and whether they came as a batch.
fn read(headers: &HeaderMap, body: &Body) -> Result<(Vec<Event>, bool), Problem> {
    let stated = content_type(headers)?;
    let essence = stated
        .map(|stated| stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let structured = matches!(essence.as_deref(), Some(CLOUDEVENTS_JSON | CLOUDEVENTS_BATCH_JSON));
    if !structured && headers.contains_key("ce-specversion") {
        let mut pairs = Vec::with_capacity(headers.len());
        for (name, value) in headers {
            match value.to_str() {
                Ok(value) => pairs.push((name.as_str(), value)),
                Err(_) if name.as_str().starts_with("ce-") => {
                    let detail = format!(
                        "the header {name} is not visible ASCII; other characters are percent-encoded"
                    );
                    return Err(Problem::new(&kinds::INVALID_EVENT, detail));
                }
                Err(_) => {}
            }
        }
        return Ok((vec![codec::from_binary(pairs.into_iter(), stated, &body.0)?], false));
    }
    if stated.is_none() {
        let detail = "there is no Content-Type; say which form of event this is";
        return Err(unsupported(detail.into()));
    }
    let array = body.0.trim_ascii_start().starts_with(b"[");
    Ok((codec::decode_all(stated, &body.0)?, array))
}

/// The problem of a content type that no form of events has.
pub(super) fn unsupported(detail: String) -> Problem {
    let known = [CLOUDEVENTS_JSON, CLOUDEVENTS_BATCH_JSON, "application/json", "text/plain"];
    Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, detail).with("known", known)
}

/// Whether an event that reaches no queue is lost. What this node last read of the roster will do: a
/// listener that is newer than that has its queue bound, and then the event reaches it, or has it
/// not, and then it was added while the event was on its way.
fn has_listeners(app: &App, bus: &BusName) -> bool {
    let roster = app.roster.known();
    let mut listeners = roster.listeners().values().map(|configured| &configured.listener);
    listeners.any(|listener| listener.bus == *bus && listener.delivery == Delivery::Once)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::{body::Bytes, http::HeaderValue};

    fn reading(
        headers: &[(&'static str, &str)],
        body: &'static str,
    ) -> Result<(Vec<Event>, bool), Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        read(&map, &Body(Bytes::from_static(body.as_bytes())))
    }

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t"}"#;

    #[test]
    fn an_event_is_read_in_each_of_its_forms() {
        let (events, batch) =
            reading(&[("content-type", "application/cloudevents+json; charset=utf-8")], EVENT)
                .unwrap();
        assert_eq!((events[0].id.as_str(), batch), ("1", false));
        let (events, batch) = reading(
            &[("content-type", "application/cloudevents-batch+json")],
            r#" [{"specversion":"1.0","id":"1","source":"/a","type":"t"}]"#,
        )
        .unwrap();
        assert_eq!((events.len(), batch), (1, true));
        let headers =
            [("ce-specversion", "1.0"), ("ce-id", "2"), ("ce-source", "/a"), ("ce-type", "t")];
        let (events, batch) = reading(&headers, "").unwrap();
        assert_eq!((events[0].id.as_str(), batch), ("2", false));
        let james =
            r#"{"MailboxAdded":{"eventId":"6e0dd59d-660e-4d9b-b22f-0354479f47b4","user":"bob"}}"#;
        for form in ["application/json", "text/plain"] {
            assert_eq!(
                reading(&[("content-type", form)], james).unwrap().0[0].kind,
                "MailboxAdded"
            );
        }
    }

    #[test]
    fn what_is_not_an_event_is_told_apart() {
        let json = ("content-type", "application/cloudevents+json");
        for (headers, body, slug) in [
            (vec![], EVENT, "unsupported-media-type"),
            (vec![("content-type", "application/xml")], EVENT, "unsupported-media-type"),
            (vec![json], "{", "invalid-body"),
            (vec![json], "{\"id\":1,\"id\":2}", "invalid-body"),
            (vec![json], "{}", "invalid-event"),
            (vec![json, json], EVENT, "invalid-parameter"),
            (vec![("ce-specversion", "1.0"), ("ce-id", "é")], "", "invalid-event"),
        ] {
            assert_eq!(reading(&headers, body).unwrap_err().kind().slug, slug, "{body}");
        }
    }
}
