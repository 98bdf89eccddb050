//! A dead letter as it is shown.

use crate::{
    bus::codec::{self, CLOUDEVENTS_JSON},
    domain::dead_letter::DeadLetter,
};
use serde::{Serialize, de::IgnoredAny};
use time::OffsetDateTime;
use utoipa::ToSchema;
use uuid::Uuid;

/// An event that somebody gave up on.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = DeadLetter)]
pub struct DeadLetterView {
    /// Its id.
    insertion_id: Uuid,
    /// The bus.
    bus: String,
    /// Who gave up: a listener's group, `dispatch-failure` or `parked`.
    group: String,
    /// The group that it goes back to, where it was parked on its way there.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    origin: Option<String>,
    /// The event's own id, where it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    event_id: Option<String>,
    /// The event's type, where it can be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    event_type: Option<String>,
    /// The user it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    user: Option<String>,
    /// The registration keys that nobody was told of yet.
    keys: Vec<String>,
    /// Why it was given up.
    cause: String,
    /// How often it was tried.
    attempts: u32,
    /// When it failed for the first time.
    #[serde(with = "time::serde::rfc3339")]
    first_failed_at: OffsetDateTime,
    /// When it failed for the last time.
    #[serde(with = "time::serde::rfc3339")]
    last_failed_at: OffsetDateTime,
    /// The node that gave up.
    node: String,
    /// The entry that it was put back from, when it failed before.
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

/// The event as it is answered: JSON as it is, any other form that can be read as a `CloudEvent`,
/// and the rest as bytes.
pub(super) fn own_form(content_type: Option<&str>, body: Vec<u8>) -> (&'static str, Vec<u8>) {
    let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let json = match essence.to_ascii_lowercase().as_str() {
        "" | "text/plain" | "application/json" => Some("application/json"),
        CLOUDEVENTS_JSON => Some(CLOUDEVENTS_JSON),
        _ => None,
    };
    // A text that is no JSON would break whoever reads the answer as what it says it is.
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
        let (content_type, body) = own_form(Some(compact.content_type), compact.body);
        assert_eq!(content_type, CLOUDEVENTS_JSON);
        assert_eq!(body, codec::encode_cloudevent(&event));
    }

    #[test]
    fn json_is_answered_as_it_is_and_what_cannot_be_read_as_bytes() {
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
            let answered = own_form(content_type, body.clone());
            assert_eq!(answered, (expected, body), "{content_type:?}");
        }
    }
}
