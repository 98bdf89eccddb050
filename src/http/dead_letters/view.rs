//! Dead letters as the REST interface shows them.

use crate::{
    bus::codec::{self, CLOUDEVENTS_JSON},
    domain::dead_letter::DeadLetter,
};
use serde::{Serialize, de::IgnoredAny};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// Event that a group gave up on, with its cause.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub struct DeadLetterView {
    /// Id of the entry.
    insertion_id: Uuid,
    /// Bus of the event.
    bus: String,
    /// Group that gave up: the group of a listener, `dispatch-failure` or `parked`.
    group: String,
    /// Group that a redelivery goes to, for a message that was parked on its way to that group.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    origin: Option<String>,
    /// Id of the event, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    event_id: Option<String>,
    /// Type of the event, if it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    event_type: Option<String>,
    /// User that the event is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<String>,
    /// Registration keys whose followers have not been notified yet.
    keys: Vec<String>,
    /// Why the event was given up.
    cause: String,
    /// Number of attempts.
    attempts: u32,
    /// Time of the first failure.
    #[serde(with = "time::serde::rfc3339")]
    first_failed_at: OffsetDateTime,
    /// Time of the last failure.
    #[serde(with = "time::serde::rfc3339")]
    last_failed_at: OffsetDateTime,
    /// Node that recorded the last failure.
    node: String,
    /// Id of the earlier entry that this event was redelivered from.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    previous: Option<Uuid>,
}

impl From<DeadLetter> for DeadLetterView {
    fn from(letter: DeadLetter) -> Self {
        Self {
            insertion_id: letter.id,
            bus: letter.bus.into(),
            group: letter.group.into(),
            origin: letter.origin.map(String::from),
            event_id: letter.event_id,
            event_type: letter.event_type,
            user: letter.user,
            keys: letter.keys.into_iter().map(String::from).collect(),
            cause: letter.cause,
            attempts: letter.attempts,
            first_failed_at: letter.first_failed_at,
            last_failed_at: letter.last_failed_at,
            node: letter.node,
            previous: letter.previous,
        }
    }
}

/// Content type and body of the answer with an event: JSON unchanged, any other readable form as a
/// `CloudEvent` in JSON, and an unreadable event as bytes.
pub(super) fn answer_body(content_type: Option<&str>, body: Vec<u8>) -> (&'static str, Vec<u8>) {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let json = match essence.to_ascii_lowercase().as_str() {
        "" | "text/plain" | "application/json" => Some("application/json"),
        CLOUDEVENTS_JSON => Some(CLOUDEVENTS_JSON),
        _ => None,
    };
    // A body that is not JSON must not be labelled as JSON, because the client would fail to read
    // it.
    let json = json.filter(|_| serde_json::from_slice::<IgnoredAny>(&body).is_ok());
    match (json, codec::decode(content_type, &body)) {
        (Some(json), _) => (json, body),
        (None, Ok(event)) => (CLOUDEVENTS_JSON, codec::encode_cloudevent(&event)),
        (None, Err(_)) => ("application/octet-stream", body),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::bus::Codec;

    #[test]
    fn the_compact_form_is_answered_as_json() {
        let event = br#"{"specversion":"1.0","id":"1","source":"/a","type":"t","data":{"n":1}}"#;
        let event = codec::decode(Some(CLOUDEVENTS_JSON), event).unwrap();
        let compact = codec::encode(Codec::MsgPack, &event).unwrap();
        let (content_type, body) = answer_body(Some(compact.content_type), compact.body);
        assert_eq!(content_type, CLOUDEVENTS_JSON);
        assert_eq!(body, codec::encode_cloudevent(&event));
    }

    #[test]
    fn json_is_answered_unchanged_and_unreadable_events_as_bytes() {
        let event = br#"{ "specversion":"1.0","id":"1","source":"/a","type":"t"}"#.to_vec();
        let cases = [
            (Some("application/cloudevents+json; charset=utf-8"), event.clone(), CLOUDEVENTS_JSON),
            (None, b"{\"Added\": {}}".to_vec(), "application/json"),
            (Some("text/plain"), b"[1]".to_vec(), "application/json"),
            (Some("text/plain"), b"not json".to_vec(), "application/octet-stream"),
            (Some("application/json"), b"\xff\x00".to_vec(), "application/octet-stream"),
            (Some("application/xml"), b"{}".to_vec(), "application/octet-stream"),
        ];
        for (content_type, body, expected) in cases {
            let answered = answer_body(content_type, body.clone());
            assert_eq!(answered, (expected, body), "{content_type:?}");
        }
    }
}
