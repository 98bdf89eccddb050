//! The copy of an event that travels through the wait queues, and what it says of itself.

use crate::{
    clock,
    domain::{
        layout::{level_after, wait_levels},
        listener::Retry,
        name::GroupName,
    },
};
use lapin::{
    BasicProperties,
    types::{AMQPValue, FieldTable, ShortString},
};
use std::{collections::BTreeMap, time::Duration};
use time::format_description::well_known::Rfc3339;

/// AMQP's delivery mode for what must outlive the broker.
pub(super) const PERSISTENT: u8 = 2;

/// The number of the retry that the copy is for.
const ATTEMPT: &str = "x-hearken-attempt";
/// When the event failed for the first time.
const FIRST_AT: &str = "x-hearken-first-at";
/// Why it failed the last time, or why it is parked.
const ERROR: &str = "x-hearken-error";
/// The group that could not run it.
const GROUP: &str = "x-hearken-group";

/// The longest error that a header carries, in bytes: headers travel in one frame.
const MAX_ERROR: usize = 500;

/// The most that foreign headers may weigh, in bytes, so that ours fit into the frame too: a larger
/// frame closes the connection on everybody who publishes.
const MAX_FOREIGN: usize = 100_000;

/// The number of the execution that a message is for; 0 is the first.
pub(super) fn attempt(properties: &BasicProperties) -> u32 {
    let headers = properties.headers().as_ref();
    let value = headers.and_then(|headers| headers.inner().get(ATTEMPT));
    let number: i64 = match value {
        Some(AMQPValue::LongLongInt(number)) => *number,
        Some(AMQPValue::LongInt(number)) => (*number).into(),
        Some(AMQPValue::LongUInt(number)) => (*number).into(),
        Some(AMQPValue::ShortInt(number)) => (*number).into(),
        Some(AMQPValue::ShortUInt(number)) => (*number).into(),
        Some(AMQPValue::ShortShortInt(number)) => (*number).into(),
        Some(AMQPValue::ShortShortUInt(number)) => (*number).into(),
        _ => 0,
    };
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// The properties of the copy for the next attempt.
pub(super) fn retried(from: &BasicProperties, group: &GroupName, cause: &str) -> BasicProperties {
    let next = attempt(from).saturating_add(1);
    let (mut headers, properties) = copy(from);
    if !headers.contains_key(FIRST_AT) {
        let now = clock::now().format(&Rfc3339).unwrap_or_default();
        headers.insert(FIRST_AT.into(), AMQPValue::LongString(now.into()));
    }
    headers.insert(ATTEMPT.into(), AMQPValue::LongLongInt(next.into()));
    explain(&mut headers, group, cause);
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

/// The wait level for the pause after a failed attempt. The listener's longest goes on when its
/// attempts are used up. A longer pause that the other side asked for is met by the smallest level
/// that holds it, and by the longest that the listener has: only those levels exist.
pub(super) fn pause(retry: &Retry, attempt: u32, asked: Option<Duration>) -> u64 {
    let own = level_after(retry, attempt);
    let Some(asked) = asked.map(|asked| u64::try_from(asked.as_millis()).unwrap_or(u64::MAX))
    else {
        return own;
    };
    let mut longer = wait_levels(retry).filter(|level| *level >= asked);
    let longest = || wait_levels(retry).max().unwrap_or(own);
    own.max(longer.next().unwrap_or_else(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::span::Span;

    fn group() -> GroupName {
        GroupName::parse("g").unwrap()
    }

    fn text(properties: &BasicProperties, name: &str) -> Option<String> {
        match properties.headers().as_ref()?.inner().get(name)? {
            AMQPValue::LongString(text) => Some(text.to_string()),
            other => Some(format!("{other:?}")),
        }
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

    #[test]
    fn an_attempt_that_makes_no_sense_is_the_first() {
        for (value, expected) in [
            (AMQPValue::LongInt(3), 3),
            (AMQPValue::LongLongInt(-4), 0),
            (AMQPValue::LongLongInt(i64::MAX), u32::MAX),
            (AMQPValue::LongString("7".into()), 0),
        ] {
            let mut headers = FieldTable::default();
            headers.insert(ATTEMPT.into(), value);
            assert_eq!(attempt(&BasicProperties::default().with_headers(headers)), expected);
        }
    }

    #[test]
    fn pauses_stay_on_the_levels_that_exist() {
        let retry = Retry { attempts: 3, first: Span::from_millis(100), max: Span::from_secs(60) };
        let levels: Vec<u64> = (0..6).map(|attempt| pause(&retry, attempt, None)).collect();
        assert_eq!(levels, [100, 200, 400, 102_400, 102_400, 102_400]);
        let asked = |attempt, millis| pause(&retry, attempt, Some(Duration::from_millis(millis)));
        assert_eq!(asked(0, 150), 200);
        assert_eq!(asked(0, 9_000), 102_400);
        assert_eq!(asked(2, 1), 400);
        let none = Retry { attempts: 0, ..retry };
        assert_eq!(pause(&none, 0, Some(Duration::MAX)), 102_400);
        let longest = Retry { attempts: 100, ..retry };
        assert_eq!(pause(&longest, u32::MAX, None), 102_400);
    }
}
