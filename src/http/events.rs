//! `/events/{bus}`: dispatch of events.

use super::{
    App,
    body::{Body, content_type},
    parameters::{Query, Segment, invalid_parameter},
    problem::{Problem, kinds},
};
use crate::{
    bus::{
        codec::{self, CLOUDEVENTS_BATCH_JSON, CLOUDEVENTS_JSON, CLOUDEVENTS_MSGPACK},
        event::Event,
    },
    domain::{
        bus::{BusDefinition, Buses},
        name::{BusName, RegistrationKey},
    },
};
use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use std::{collections::BTreeSet, sync::Arc};
use utoipa::ToSchema;

/// Accepted event.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Accepted {
    /// Id of the event, as the producer set it.
    event_id: String,
}

/// Accepted batch of events.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct BatchAccepted {
    /// Ids of the events, in the order of the batch.
    event_ids: Vec<String>,
}

/// Accepted event or batch.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub enum AcceptedEvents {
    /// A single event.
    Single(Accepted),
    /// A batch.
    Batch(BatchAccepted),
}

/// Dispatch an event
///
/// The body is a `CloudEvent` (structured in JSON or `MessagePack`, a batch in JSON, or binary with
/// `ce-` headers), or an event in James's JSON. The answer comes when the broker or the database
/// has the event. An event that is sent twice is delivered twice.
#[utoipa::path(
    post, path = "/events/{bus}", tag = "events", operation_id = "dispatchEvent",
    params(
        ("bus" = String, Path, description = "Name of the bus.", example = "mailboxEvent"),
        ("key" = Vec<String>, Query, description = "Registration key whose followers are notified, such as `MailboxIdRegistrationKey:18`; may be repeated. The keys apply to every event of a batch."),
    ),
    request_body(description = "The event.", content(
        (Value = "application/cloudevents+json", example = json!({"specversion": "1.0", "id": "1", "source": "/mail", "type": "Added", "data": {"mailbox": "18"}})),
        (Vec<Value> = "application/cloudevents-batch+json"),
        ("application/cloudevents+msgpack"),
        (Value = "application/json", example = json!({"MailboxAdded": {"eventId": "6e0dd59d-660e-4d9b-b22f-0354479f47b4", "user": "bob", "mailboxId": "18"}})),
        ("text/plain"),
        ("*/*"),
    )),
    responses((status = 202, description = "The broker or the database has the event.", body = AcceptedEvents)),
    extensions(("x-problems" = json!(["invalid-name", "invalid-body", "invalid-event", "not-found",
        "body-too-large", "unsupported-media-type", "timeout", "not-accepted", "store-unavailable"]))),
)]
pub(crate) async fn dispatch(
    State(app): State<Arc<App>>,
    Segment(bus): Segment<BusName>,
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    find_bus(&app, &bus).await?;
    let keys = keys(&query)?;
    let sent = SentEvents::read(&headers, &body)?;
    let accepted = sent.accepted();
    let keyed = sent.into_events().into_iter().map(|event| (event, keys.clone())).collect();
    app.dispatcher.dispatch(&bus, keyed).await?;
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// The bus of a name. The roster is read again for a bus that this node does not know, because
/// another node may just have added the bus.
pub(super) async fn find_bus(app: &App, name: &BusName) -> Result<BusDefinition, Problem> {
    if let Some(known) = app.roster.buses().get(name) {
        return Ok(known.clone());
    }
    let roster = app.roster.current().await?;
    roster.buses().get(name).cloned().ok_or_else(|| no_such_bus(name, roster.buses()))
}

/// Problem of a name that no bus has.
fn no_such_bus(name: &BusName, buses: &Buses) -> Problem {
    let known: Vec<&str> = buses.keys().map(BusName::as_str).collect();
    let detail = format!("there is no bus {name}; the cluster has {}", known.join(", "));
    Problem::new(&kinds::NOT_FOUND, detail).with("known", known)
}

/// Registration keys of a request.
fn keys(query: &Query) -> Result<BTreeSet<RegistrationKey>, Problem> {
    let keys = query.values("key").iter().map(RegistrationKey::parse);
    keys.map(|key| key.map_err(|error| invalid_parameter("key", error.to_string()))).collect()
}

/// Events of a request.
#[derive(Debug)]
enum SentEvents {
    Single(Event),
    Batch(Vec<Event>),
}

impl SentEvents {
    fn read(headers: &HeaderMap, body: &Body) -> Result<Self, Problem> {
        let stated = content_type(headers)?;
        let essence = stated
            .map(|stated| stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let structured = matches!(
            essence.as_deref(),
            Some(CLOUDEVENTS_JSON | CLOUDEVENTS_BATCH_JSON | CLOUDEVENTS_MSGPACK)
        );
        if !structured && headers.contains_key("ce-specversion") {
            let pairs = text_headers(headers)?;
            let event = codec::from_binary(pairs.into_iter(), stated, &body.0)?;
            return Ok(Self::Single(event));
        }
        if stated.is_none() {
            let detail = "the request has no Content-Type; name the form of the event";
            return Err(unsupported(detail.into()));
        }
        let text = essence.as_deref() != Some(CLOUDEVENTS_MSGPACK);
        if text && body.0.trim_ascii_start().starts_with(b"[") {
            return Ok(Self::Batch(codec::decode_all(stated, &body.0)?));
        }
        Ok(Self::Single(codec::decode(stated, &body.0)?))
    }

    fn accepted(&self) -> AcceptedEvents {
        match self {
            Self::Single(event) => AcceptedEvents::Single(Accepted { event_id: event.id.clone() }),
            Self::Batch(events) => {
                let event_ids = events.iter().map(|event| event.id.clone()).collect();
                AcceptedEvents::Batch(BatchAccepted { event_ids })
            }
        }
    }

    fn into_events(self) -> Vec<Event> {
        match self {
            Self::Single(event) => vec![event],
            Self::Batch(events) => events,
        }
    }
}

/// Names and values of the headers that are text. The binary form of an event has its attributes in
/// headers, so each of those must be text.
fn text_headers(headers: &HeaderMap) -> Result<Vec<(&str, &str)>, Problem> {
    let mut pairs = Vec::with_capacity(headers.len());
    for (name, value) in headers {
        match value.to_str() {
            Ok(value) => pairs.push((name.as_str(), value)),
            Err(_) if name.as_str().starts_with("ce-") => {
                let detail = format!(
                    "the header {name} is not visible ASCII; percent-encode the other characters"
                );
                return Err(Problem::new(&kinds::INVALID_EVENT, detail));
            }
            Err(_) => {}
        }
    }
    Ok(pairs)
}

/// Problem of a content type that is not a form of events.
pub(super) fn unsupported(detail: String) -> Problem {
    let known = [
        CLOUDEVENTS_JSON,
        CLOUDEVENTS_BATCH_JSON,
        CLOUDEVENTS_MSGPACK,
        "application/json",
        "text/plain",
    ];
    Problem::new(&kinds::UNSUPPORTED_MEDIA_TYPE, detail).with("known", known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bus::Codec;
    use axum::{body::Bytes, http::HeaderValue};

    fn reading(
        headers: &[(&'static str, &str)],
        body: &'static str,
    ) -> Result<SentEvents, Problem> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        SentEvents::read(&map, &Body(Bytes::from_static(body.as_bytes())))
    }

    fn single(sent: Result<SentEvents, Problem>) -> Event {
        let Ok(SentEvents::Single(event)) = sent else { panic!("{sent:?}") };
        event
    }

    const EVENT: &str = r#"{"specversion":"1.0","id":"1","source":"/a","type":"t"}"#;

    #[test]
    fn an_event_is_read_in_each_of_its_forms() {
        let json = [("content-type", "application/cloudevents+json; charset=utf-8")];
        let event = single(reading(&json, EVENT));
        assert_eq!(event.id, "1");
        let compact = codec::encode(Codec::MsgPack, &event).unwrap();
        let mut map = HeaderMap::new();
        map.insert("content-type", HeaderValue::from_static(compact.content_type));
        let read = SentEvents::read(&map, &Body(Bytes::from(compact.body)));
        assert_eq!(single(read).id, "1");
        let headers =
            [("ce-specversion", "1.0"), ("ce-id", "2"), ("ce-source", "/a"), ("ce-type", "t")];
        assert_eq!(single(reading(&headers, "")).id, "2");
        let james =
            r#"{"MailboxAdded":{"eventId":"6e0dd59d-660e-4d9b-b22f-0354479f47b4","user":"bob"}}"#;
        for form in ["application/json", "text/plain"] {
            assert_eq!(single(reading(&[("content-type", form)], james)).kind, "MailboxAdded");
        }
    }

    #[test]
    fn an_array_is_a_batch_even_with_one_event() {
        let sent = reading(
            &[("content-type", "application/cloudevents-batch+json")],
            r#" [{"specversion":"1.0","id":"1","source":"/a","type":"t"}]"#,
        );
        let Ok(SentEvents::Batch(events)) = sent else { panic!("{sent:?}") };
        assert_eq!(events.len(), 1);
    }

    #[test]
    fn each_way_to_send_no_event_has_its_own_problem() {
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
