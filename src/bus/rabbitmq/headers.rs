//! What a message says of its own history, in hearken's headers.
//!
//! Any program can publish to a main exchange, so every header may be absent or nonsense. A
//! nonsensical header counts as absent.

use crate::{bus::verdict::LONGEST_ASKED, clock};
use lapin::{BasicProperties, types::AMQPValue};
use std::time::Duration;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use uuid::Uuid;

/// Number of the retry that the copy is for.
pub(super) const ATTEMPT: &str = "x-hearken-attempt";

/// Time of the event's first failure.
pub(super) const FIRST_AT: &str = "x-hearken-first-at";

/// Cause of the last failure, or of parking.
pub(super) const ERROR: &str = "x-hearken-error";

/// The group that could not run the event.
pub(super) const GROUP: &str = "x-hearken-group";

/// Milliseconds since the Unix epoch, before which the event does not run.
pub(super) const NOT_BEFORE: &str = "x-hearken-not-before";

/// The dead letter that the event was redelivered from.
pub(super) const PREVIOUS: &str = "x-hearken-previous";

/// The id under which the event becomes a dead letter. Set once keeping the dead letter failed.
pub(super) const LETTER: &str = "x-hearken-dead-letter";

/// Microseconds since the Unix epoch at which the event was published. Tells two dispatches of one
/// event apart: AMQP's own timestamp has seconds only.
pub(super) const PUBLISHED_AT: &str = "x-hearken-published-at";

/// The process that published the message.
pub(super) const FROM: &str = "x-hearken-from";

/// The node that dispatched a message which is published again.
pub(super) const KEPT_BY: &str = "x-hearken-kept-by";

/// James's name for [`FROM`]. James needs the header on every notification.
pub(super) const JAMES_FROM: &str = "eventBusId";

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

/// Number of the execution that a message is for. The first is 0.
pub(super) fn attempt(properties: &BasicProperties) -> u32 {
    let number = number(properties, ATTEMPT).unwrap_or_default();
    u32::try_from(number.max(0)).unwrap_or(u32::MAX)
}

/// Time of the event's first failure. `None` for an event that never failed.
pub(super) fn first_failed_at(properties: &BasicProperties) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&text(properties, FIRST_AT)?, &Rfc3339).ok()
}

/// Time at which the event was published: to the microsecond when hearken published it, otherwise
/// by AMQP's timestamp.
pub(super) fn published_at(properties: &BasicProperties) -> Option<OffsetDateTime> {
    let stamped = || i64::try_from((*properties.timestamp())?).ok()?.checked_mul(1_000_000);
    number(properties, PUBLISHED_AT).or_else(stamped).map(clock::from_micros)
}

/// Time until the event may run. `None` when the event may run at once. No failure can ask for a
/// pause over [`LONGEST_ASKED`], so a longer time is nonsense.
pub(super) fn rest(properties: &BasicProperties, now: OffsetDateTime) -> Option<Duration> {
    let due = i128::from(number(properties, NOT_BEFORE)?) * 1_000_000;
    let rest = due - now.unix_timestamp_nanos();
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
    fn a_nonsensical_attempt_counts_as_the_first() {
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
    fn an_event_rests_until_its_time_but_never_longer_than_the_longest_pause() {
        let now = OffsetDateTime::from_unix_timestamp(1_700_000_000).unwrap();
        let millis = 1_700_000_000_000;
        let rest_at = |at: i64| rest(&with(NOT_BEFORE, AMQPValue::LongLongInt(at)), now);
        assert_eq!(rest_at(millis + 60_000), Some(Duration::from_mins(1)));
        assert_eq!([millis, millis - 1, i64::MAX, i64::MIN].map(rest_at), [None; 4]);
        assert_eq!(rest(&BasicProperties::default(), now), None);
    }

    #[test]
    fn a_header_that_is_not_a_time_or_not_an_id_counts_as_absent() {
        let nonsense = with(FIRST_AT, AMQPValue::LongString("yesterday".into()));
        assert_eq!(first_failed_at(&nonsense), None);
        assert_eq!(id(&with(PREVIOUS, AMQPValue::LongLongInt(7)), PREVIOUS), None);
        let known = with(PREVIOUS, AMQPValue::LongString(Uuid::nil().to_string().into()));
        assert_eq!(id(&known, PREVIOUS), Some(Uuid::nil()));
    }
}
