//! What a message says of its own history, in headers of ours. Any program can publish to a main
//! exchange, so every header may be missing or be nonsense, and is nothing then.

use crate::{bus::verdict::LONGEST_ASKED, clock};
use lapin::{BasicProperties, types::AMQPValue};
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// The number of the retry that the copy is for.
pub(super) const ATTEMPT: &str = "x-hearken-attempt";
/// When the event failed for the first time.
pub(super) const FIRST_AT: &str = "x-hearken-first-at";
/// Why it failed the last time, or why it is parked.
pub(super) const ERROR: &str = "x-hearken-error";
/// The group that could not run it.
pub(super) const GROUP: &str = "x-hearken-group";
/// Milliseconds since the Unix epoch: it does not run before.
pub(super) const NOT_BEFORE: &str = "x-hearken-not-before";
/// The dead letter that it was redelivered from.
pub(super) const PREVIOUS: &str = "x-hearken-previous";
/// The id under which it is to be kept as a dead letter, once it was tried to keep it.
pub(super) const LETTER: &str = "x-hearken-dead-letter";

/// Microseconds since the Unix epoch: when it was published. Tells two dispatches of one event
/// apart; AMQP's own timestamp has seconds only.
pub(super) const PUBLISHED_AT: &str = "x-hearken-published-at";

fn header<'a>(properties: &'a BasicProperties, name: &str) -> Option<&'a AMQPValue> {
    properties.headers().as_ref()?.inner().get(name)
}

/// A header that is a number.
pub(super) fn number(properties: &BasicProperties, name: &str) -> Option<i64> {
    match header(properties, name)? {
        AMQPValue::LongLongInt(number) => Some(*number),
        AMQPValue::LongInt(number) => Some((*number).into()),
        AMQPValue::LongUInt(number) => Some((*number).into()),
        AMQPValue::ShortInt(number) => Some((*number).into()),
        AMQPValue::ShortUInt(number) => Some((*number).into()),
        AMQPValue::ShortShortInt(number) => Some((*number).into()),
        AMQPValue::ShortShortUInt(number) => Some((*number).into()),
        _ => None,
    }
}

/// A header that is text.
pub(super) fn text(properties: &BasicProperties, name: &str) -> Option<String> {
    match header(properties, name)? {
        AMQPValue::LongString(text) => Some(text.to_string()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A header that is an identifier.
pub(super) fn id(properties: &BasicProperties, name: &str) -> Option<Uuid> {
    Uuid::parse_str(&text(properties, name)?).ok()
}

/// The number of the execution that a message is for; 0 is the first.
pub(super) fn attempt(properties: &BasicProperties) -> u32 {
    let number = number(properties, ATTEMPT).unwrap_or_default();
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// When the event failed for the first time, where it did.
pub(super) fn first_failed_at(properties: &BasicProperties) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&text(properties, FIRST_AT)?, &Rfc3339).ok()
}

/// When the event was published: to the microsecond where hearken did it, else as AMQP has it.
pub(super) fn published_at(properties: &BasicProperties) -> Option<OffsetDateTime> {
    let stamped = || i64::try_from((*properties.timestamp())?).ok()?.checked_mul(1_000_000);
    number(properties, PUBLISHED_AT).or_else(stamped).map(clock::from_micros)
}

/// How long the event must not run yet. No failure can ask for more than [`LONGEST_ASKED`], so a
/// longer pause is nonsense.
pub(super) fn rest(properties: &BasicProperties) -> Option<Duration> {
    let due = i128::from(number(properties, NOT_BEFORE)?) * 1_000_000;
    let rest = due - clock::now().unix_timestamp_nanos();
    let rest = Duration::from_nanos(u64::try_from(rest).ok()?);
    (!rest.is_zero() && rest <= LONGEST_ASKED).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::FieldTable;

    fn with(name: &str, value: AMQPValue) -> BasicProperties {
        let mut headers = FieldTable::default();
        headers.insert(name.into(), value);
        BasicProperties::default().with_headers(headers)
    }

    #[test]
    fn an_attempt_that_makes_no_sense_is_the_first() {
        for (value, expected) in [
            (AMQPValue::LongInt(3), 3),
            (AMQPValue::LongLongInt(-4), 0),
            (AMQPValue::LongLongInt(i64::MAX), u32::MAX),
            (AMQPValue::LongString("7".into()), 0),
        ] {
            assert_eq!(attempt(&with(ATTEMPT, value)), expected);
        }
    }

    #[test]
    fn an_event_rests_until_its_time_and_never_longer_than_anything_can_ask_for() {
        let now = i64::try_from(clock::now().unix_timestamp_nanos() / 1_000_000).unwrap();
        let rest = |at: i64| rest(&with(NOT_BEFORE, AMQPValue::LongLongInt(at)));
        let soon = rest(now + 60_000).unwrap();
        assert!(soon > Duration::from_secs(50) && soon <= Duration::from_mins(1), "{soon:?}");
        assert_eq!((rest(now - 1), rest(i64::MAX), rest(i64::MIN)), (None, None, None));
        assert_eq!(super::rest(&BasicProperties::default()), None);
    }

    #[test]
    fn what_is_no_time_and_no_id_is_none() {
        let nonsense = with(FIRST_AT, AMQPValue::LongString("yesterday".into()));
        assert_eq!(first_failed_at(&nonsense), None);
        assert_eq!(id(&with(PREVIOUS, AMQPValue::LongLongInt(7)), PREVIOUS), None);
        let known = with(PREVIOUS, AMQPValue::LongString(Uuid::nil().to_string().into()));
        assert_eq!(id(&known, PREVIOUS), Some(Uuid::nil()));
    }
}
