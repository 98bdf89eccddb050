//! Properties of the copy of an event that travels through the wait queues.

use crate::{
    bus::rabbitmq::{
        headers::{ATTEMPT, ERROR, FIRST_AT, GROUP, LETTER, NOT_BEFORE, attempt},
        publishing::PERSISTENT,
    },
    domain::name::GroupName,
};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use std::collections::BTreeMap;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// The longest error in a header, in bytes. All headers travel in one frame.
const MAX_ERROR: usize = 500;

/// The largest size of foreign headers, in bytes, which leaves room in the frame for hearken's own.
/// A frame that is too large closes the connection for every publisher.
const MAX_FOREIGN: usize = 100_000;

/// A failed execution, as the copy of its event tells it.
pub(super) struct FailedExecution<'a> {
    /// The group whose listener failed.
    pub(super) group: &'a GroupName,
    /// Cause of the failure.
    pub(super) cause: &'a str,
    /// Time of the event's first failure.
    pub(super) first_at: OffsetDateTime,
}

impl FailedExecution<'_> {
    /// Properties of the copy for the next attempt, which does not run before a time.
    pub(super) fn retried(
        &self,
        from: &BasicProperties,
        not_before: Option<OffsetDateTime>,
    ) -> BasicProperties {
        let next = attempt(from).saturating_add(1);
        let (mut headers, properties) = self.copy(from);
        headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(next.into()));
        if let Some(due) = not_before {
            let millis = due.unix_timestamp_nanos() / 1_000_000;
            let due = i64::try_from(millis).unwrap_or(i64::MAX);
            headers.insert(NOT_BEFORE.into(), AMQPValue::LongLongInt(due));
        }
        properties.with_headers(headers)
    }

    /// Properties of the copy that could not be kept as the dead letter `letter`. The copy has the
    /// same attempt as the original.
    pub(super) fn unkept(&self, from: &BasicProperties, letter: Uuid) -> BasicProperties {
        let (mut headers, properties) = self.copy(from);
        headers.insert(LETTER.into(), AMQPValue::LongString(letter.to_string().into()));
        properties.with_headers(headers)
    }

    fn copy(&self, from: &BasicProperties) -> (FieldTable, BasicProperties) {
        let (headers, properties) = copy(from);
        let kept = headers.inner().iter().filter(|(name, _)| name.as_str() != NOT_BEFORE);
        let kept = kept.map(|(name, value)| (name.clone(), value.clone()));
        let mut headers: FieldTable = kept.collect::<BTreeMap<_, _>>().into();
        let first = self.first_at.format(&Rfc3339).unwrap_or_default();
        headers.insert(FIRST_AT.into(), AMQPValue::LongString(first.into()));
        explain(&mut headers, self.group, self.cause);
        (headers, properties)
    }
}

/// Properties of the copy of an event that has not run and waits.
pub(super) fn postponed(from: &BasicProperties) -> BasicProperties {
    let (headers, properties) = copy(from);
    properties.with_headers(headers)
}

/// Properties of the copy of a message that no listener can take.
pub(super) fn parked(from: &BasicProperties, group: &GroupName, cause: &str) -> BasicProperties {
    let (mut headers, properties) = copy(from);
    explain(&mut headers, group, cause);
    properties.with_headers(headers)
}

fn explain(headers: &mut FieldTable, group: &GroupName, cause: &str) {
    let mut cause = cause.to_owned();
    cause.truncate(cause.floor_char_boundary(MAX_ERROR));
    headers.insert(ERROR.into(), AMQPValue::LongString(cause.into()));
    headers.insert(GROUP.into(), AMQPValue::LongString(group.as_str().into()));
}

/// Headers and properties without those that the broker would act on again. An `expiration` would
/// end the wait early. By `CC` and `BCC` the broker routes when the wait ends. `user_id` must be
/// the connection's own. RabbitMQ 4 ignores an `x-death` that a client sends.
fn copy(from: &BasicProperties) -> (FieldTable, BasicProperties) {
    let mut headers = FieldTable::default();
    for (name, value) in from.headers().iter().flat_map(FieldTable::inner) {
        if !belongs_to_broker(name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    let size: usize =
        headers.inner().iter().map(|(name, value)| name.as_str().len() + size_of(value)).sum();
    if size > MAX_FOREIGN {
        tracing::warn!(
            size,
            "the headers of an event take {size} bytes, which is too much for a copy; the copy goes without them"
        );
        let kept =
            headers.inner().iter().filter(|(name, _)| name.as_str().starts_with("x-hearken-"));
        headers = kept
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect::<BTreeMap<_, _>>()
            .into();
    }
    let mut to = BasicProperties::default().with_delivery_mode(PERSISTENT);
    let keep = |to: &mut BasicProperties,
                value: &Option<ShortString>,
                set: fn(BasicProperties, ShortString) -> BasicProperties| {
        if let Some(value) = value {
            *to = set(std::mem::take(to), value.clone());
        }
    };
    keep(&mut to, from.content_type(), BasicProperties::with_content_type);
    keep(&mut to, from.content_encoding(), BasicProperties::with_content_encoding);
    keep(&mut to, from.correlation_id(), BasicProperties::with_correlation_id);
    keep(&mut to, from.reply_to(), BasicProperties::with_reply_to);
    keep(&mut to, from.message_id(), BasicProperties::with_message_id);
    keep(&mut to, from.kind(), BasicProperties::with_type);
    keep(&mut to, from.app_id(), BasicProperties::with_app_id);
    if let Some(time) = from.timestamp() {
        to = to.with_timestamp(*time);
    }
    (headers, to)
}

/// Upper bound of the size of a header, in bytes.
fn size_of(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::LongString(text) => text.len(),
        other => format!("{other:?}").len(),
    }
}

fn belongs_to_broker(name: &str) -> bool {
    matches!(name, "CC" | "BCC" | "x-delivery-count" | "x-acquired-count")
        || ["x-death", "x-first-death-", "x-last-death-"]
            .iter()
            .any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::rabbitmq::headers;
    use std::time::Duration;

    fn now() -> OffsetDateTime {
        OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap()
    }

    fn group() -> GroupName {
        GroupName::parse("g").unwrap()
    }

    fn text(properties: &BasicProperties, name: &str) -> Option<String> {
        headers::text(properties, name)
    }

    fn retried(from: &BasicProperties, group: &GroupName, cause: &str) -> BasicProperties {
        let first_at = headers::first_failed_at(from).unwrap_or_else(now);
        FailedExecution { group, cause, first_at }.retried(from, None)
    }

    #[test]
    fn a_copy_counts_its_attempts_and_remembers_the_first_failure() {
        let first = retried(&BasicProperties::default(), &group(), "it broke");
        assert_eq!((attempt(&BasicProperties::default()), attempt(&first)), (0, 1));
        assert_eq!(text(&first, ERROR).unwrap(), "it broke");
        assert_eq!(text(&first, GROUP).unwrap(), "g");
        assert!(text(&first, FIRST_AT).unwrap().ends_with('Z'));
        let second = retried(&first, &group(), "again");
        assert_eq!(attempt(&second), 2);
        assert_eq!(text(&second, FIRST_AT), text(&first, FIRST_AT));
        assert_eq!(text(&second, ERROR).unwrap(), "again");
        assert_eq!(*second.delivery_mode(), Some(2));
    }

    #[test]
    fn a_postponed_copy_is_unchanged_and_a_retried_copy_forgets_its_time() {
        let (group, first_at) = (group(), now());
        let failed = FailedExecution { group: &group, cause: "busy", first_at };
        let pause = Duration::from_mins(1);
        let asked = failed.retried(&BasicProperties::default(), Some(now() + pause));
        let again = postponed(&asked);
        assert_eq!((attempt(&again), again.headers()), (1, asked.headers()));
        assert_eq!(headers::rest(&again, now()), Some(pause));
        assert_eq!(headers::rest(&failed.retried(&again, None), now()), None);
        let unkept = failed.unkept(&again, Uuid::nil());
        assert_eq!((attempt(&unkept), headers::rest(&unkept, now())), (1, None));
        assert_eq!(headers::id(&unkept, LETTER), Some(Uuid::nil()));
        assert_eq!(headers::first_failed_at(&unkept), Some(first_at));
    }

    #[test]
    fn a_copy_keeps_headers_for_listeners_and_drops_headers_for_the_broker() {
        let mut headers = FieldTable::default();
        for name in ["CC", "BCC", "x-death", "x-first-death-queue", "x-delivery-count", "trace"] {
            headers.insert(name.into(), AMQPValue::LongLongInt(3));
        }
        let original = BasicProperties::default()
            .with_headers(headers)
            .with_content_type("application/json".into())
            .with_message_id("m".into())
            .with_correlation_id("c".into())
            .with_timestamp(7)
            .with_delivery_mode(1)
            .with_expiration("10".into())
            .with_user_id("guest".into());
        let copy = parked(&original, &group(), "why");
        let kept: Vec<&str> =
            copy.headers().as_ref().unwrap().inner().keys().map(ShortString::as_str).collect();
        assert_eq!(kept, ["trace", ERROR, GROUP]);
        assert_eq!(copy.message_id(), original.message_id());
        assert_eq!(copy.content_type(), original.content_type());
        assert_eq!(
            (copy.timestamp(), copy.correlation_id()),
            (original.timestamp(), original.correlation_id())
        );
        assert_eq!(
            (copy.expiration(), copy.user_id(), copy.delivery_mode()),
            (&None, &None, &Some(2))
        );
    }

    #[test]
    fn a_long_error_is_cut_between_characters() {
        let copy = retried(&BasicProperties::default(), &group(), &"é".repeat(400));
        assert_eq!(text(&copy, ERROR).unwrap(), "é".repeat(250));
        let odd = format!("x{}", "é".repeat(400));
        let copy = retried(&BasicProperties::default(), &group(), &odd);
        assert_eq!(text(&copy, ERROR).unwrap().len(), 499);
    }

    #[test]
    fn headers_that_leave_no_room_for_ours_are_left_out() {
        let mut headers = FieldTable::default();
        headers.insert("a".into(), AMQPValue::LongString("x".repeat(MAX_FOREIGN).into()));
        let heavy = BasicProperties::default().with_headers(headers);
        let first = retried(&heavy, &group(), "why");
        assert!(!first.headers().as_ref().unwrap().contains_key("a"));
        assert_eq!((attempt(&first), attempt(&retried(&first, &group(), "why"))), (1, 2));
    }
}
