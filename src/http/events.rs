//! `/events/{bus}`: events in.

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
    domain::name::{BusName, RegistrationKey},
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
/// A `CloudEvent` (structured in JSON or `MessagePack`, a batch of them, or binary with `ce-`
/// headers), or the bus's own JSON, which is James's. The answer comes when the event is safe.
/// Sending the same event again delivers it again.
#[utoipa::path(
    post, path = "/events/{bus}", tag = "events", operation_id = "dispatchEvent",
    params(
        ("bus" = String, Path, description = "The bus.", example = "mailboxEvent"),
        ("key" = Vec<String>, Query, description = "A registration key whose followers are notified, such as `MailboxIdRegistrationKey:18`; may be repeated. Of a batch, every event has them all."),
    ),
    request_body(description = "The event.", content(
        (Value = "application/cloudevents+json", example = json!({"specversion": "1.0", "id": "1", "source": "/mail", "type": "Added", "data": {"mailbox": "18"}})),
        (Vec<Value> = "application/cloudevents-batch+json"),
        ("application/cloudevents+msgpack"),
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
    query: Query,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    if !app.roster.buses().contains_key(&bus) {
        let known: Vec<BusName> = app.roster.buses().keys().cloned().collect();
        let names: Vec<&str> = known.iter().map(BusName::as_str).collect();
        let detail = format!("there is no bus {bus}; the cluster has {}", names.join(", "));
        return Err(Problem::new(&kinds::NOT_FOUND, detail).with("known", known));
    }
    let keys = keys(&query)?;
    let (events, batch) = read(&headers, &body)?;
    let mut event_ids: Vec<String> = events.iter().map(|event| event.id.clone()).collect();
    let keyed = events.into_iter().map(|event| (event, keys.clone())).collect();
    app.dispatcher.dispatch(&bus, keyed).await?;
    let accepted = match event_ids.pop() {
        Some(event_id) if !batch => AcceptedEvents::One(Accepted { event_id }),
        last => {
            event_ids.extend(last);
            AcceptedEvents::Batch(BatchAccepted { event_ids })
        }
    };
    Ok((StatusCode::ACCEPTED, Json(accepted)).into_response())
}

/// The registration keys of a request.
fn keys(query: &Query) -> Result<BTreeSet<RegistrationKey>, Problem> {
    let keys = query.values("key").iter().map(RegistrationKey::parse);
    keys.map(|key| key.map_err(|error| invalid_parameter("key", error.to_string()))).collect()
}

/// The events of a request, and whether they came as a batch.
fn read(headers: &HeaderMap, body: &Body) -> Result<(Vec<Event>, bool), Problem> {
    let stated = content_type(headers)?;
    let essence = stated
        .map(|stated| stated.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    let structured = matches!(
        essence.as_deref(),
        Some(CLOUDEVENTS_JSON | CLOUDEVENTS_BATCH_JSON | CLOUDEVENTS_MSGPACK)
    );
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
    let text = essence.as_deref() != Some(CLOUDEVENTS_MSGPACK);
    let array = text && body.0.trim_ascii_start().starts_with(b"[");
    Ok((codec::decode_all(stated, &body.0)?, array))
}

/// The problem of a content type that no form of events has.
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
        let compact = codec::encode(Codec::MsgPack, &events[0]).unwrap();
        let mut map = HeaderMap::new();
        map.insert("content-type", HeaderValue::from_static(compact.content_type));
        let (events, batch) = read(&map, &Body(Bytes::from(compact.body))).unwrap();
        assert_eq!((events[0].id.as_str(), batch), ("1", false));
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
