//! The copy of an event that travels through the wait queues, and what it says of itself.

use super::headers::{ATTEMPT, ERROR, FIRST_AT, GROUP, LETTER, NOT_BEFORE, attempt};
use crate::{clock, domain::name::GroupName};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{collections::BTreeMap, time::Duration};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// AMQP's delivery mode for what must outlive the broker.
pub(super) const PERSISTENT: u8 = 2;

/// The longest error that a header carries, in bytes: headers travel in one frame.
const MAX_ERROR: usize = 500;

/// The most that foreign headers may weigh, in bytes, so that ours fit into the frame too: a larger
/// frame closes the connection on everybody who publishes.
const MAX_FOREIGN: usize = 100_000;

/// A failure, as the copy of its event tells of it.
pub(super) struct Failed<'a> {
    /// The group that failed.
    pub(super) group: &'a GroupName,
    /// Why.
    pub(super) cause: &'a str,
    /// When the event failed for the first time.
    pub(super) first_at: OffsetDateTime,
}

impl Failed<'_> {
    /// The properties of the copy for the next attempt, which does not run before a pause is over.
    pub(super) fn retried(
        &self,
        from: &BasicProperties,
        not_before: Option<Duration>,
    ) -> BasicProperties {
        let next = attempt(from).saturating_add(1);
        let (mut headers, properties) = self.copy(from);
        headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(next.into()));
        if let Some(pause) = not_before {
            let due = (clock::now() + pause).unix_timestamp_nanos() / 1_000_000;
            let due = i64::try_from(due).unwrap_or(i64::MAX);
            headers.insert(NOT_BEFORE.into(), AMQPValue::LongLongInt(due));
        }
        properties.with_headers(headers)
    }

    /// The properties of the copy that could not be kept as the dead letter `letter`: it has the
    /// same attempt again.
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

/// The properties of the copy that waits again and is otherwise what it was.
pub(super) fn waiting(from: &BasicProperties) -> BasicProperties {
    let (headers, properties) = copy(from);
    properties.with_headers(headers)
}

/// The properties of the copy that nobody can take.
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

/// Headers and properties without what the broker would act on again: an `expiration` would end
/// the wait early, `CC` and `BCC` are routed by when the wait ends, `user_id` must be the
/// connection's own, and RabbitMQ 4 ignores an `x-death` that a client sends.
fn copy(from: &BasicProperties) -> (FieldTable, BasicProperties) {
    let mut headers = FieldTable::default();
    for (name, value) in from.headers().iter().flat_map(FieldTable::inner) {
        if !is_the_brokers(name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    let weight: usize =
        headers.inner().iter().map(|(name, value)| name.as_str().len() + weight(value)).sum();
    if weight > MAX_FOREIGN {
        tracing::warn!(
            weight,
            "the headers of an event are too large to be copied, and are left out"
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

/// How many bytes a header takes, or more.
fn weight(value: &AMQPValue) -> usize {
    match value {
        AMQPValue::LongString(text) => text.len(),
        other => format!("{other:?}").len(),
    }
}

fn is_the_brokers(name: &str) -> bool {
    matches!(name, "CC" | "BCC" | "x-delivery-count" | "x-acquired-count")
        || ["x-death", "x-first-death-", "x-last-death-"]
            .iter()
            .any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bus::rabbitmq::headers;

    fn group() -> GroupName {
        GroupName::parse("g").unwrap()
    }

    fn text(properties: &BasicProperties, name: &str) -> Option<String> {
        headers::text(properties, name)
    }

    fn retried(from: &BasicProperties, group: &GroupName, cause: &str) -> BasicProperties {
        let first_at = headers::first_failed_at(from).unwrap_or_else(clock::now);
        Failed { group, cause, first_at }.retried(from, None)
    }

    #[test]
    fn a_copy_counts_its_attempts_and_remembers_the_first() {
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
    fn a_copy_that_waits_again_is_what_it_was_and_forgets_its_time_when_it_failed() {
        let (group, first_at) = (group(), clock::now());
        let failed = Failed { group: &group, cause: "busy", first_at };
        let pause = Duration::from_mins(1);
        let asked = failed.retried(&BasicProperties::default(), Some(pause));
        let again = waiting(&asked);
        assert_eq!((attempt(&again), again.headers()), (1, asked.headers()));
        let rest = headers::rest(&again).unwrap();
        assert!(rest <= pause && rest > pause / 2, "{rest:?}");
        assert_eq!(headers::rest(&failed.retried(&again, None)), None);
        let unkept = failed.unkept(&again, Uuid::nil());
        assert_eq!((attempt(&unkept), headers::rest(&unkept)), (1, None));
        assert_eq!(headers::id(&unkept, LETTER), Some(Uuid::nil()));
        assert_eq!(headers::first_failed_at(&unkept), Some(first_at));
    }

    #[test]
    fn a_copy_keeps_what_listeners_see_and_drops_what_the_broker_acts_on() {
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
