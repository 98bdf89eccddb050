//! Filters of requests for dead letters. A refusal that James also has uses James's wording.

use crate::{
    clock::Clock,
    domain::{
        name::{BusName, GroupName},
        span::Span,
    },
    http::{
        parameters::{Query, SegmentError, invalid_parameter},
        problem::{Problem, kinds},
        tasks::report::read_time,
    },
    store::dead_letters::DeadLetterFilter,
};
use std::str::FromStr;
use time::OffsetDateTime;
use uuid::Uuid;

/// Group in the path.
pub(crate) struct GroupSegment(pub(super) GroupName);

impl FromStr for GroupSegment {
    type Err = SegmentError;

    fn from_str(text: &str) -> Result<Self, SegmentError> {
        GroupName::parse(text).map(Self).map_err(|error| {
            let value = error.value.clone();
            let detail = format!("Can not deserialize the supplied group: {value}; {error}");
            Problem::new(&kinds::INVALID_NAME, detail).with("value", value).into()
        })
    }
}

/// Id of an entry in the path.
pub(crate) struct InsertionIdSegment(pub(super) Uuid);

impl FromStr for InsertionIdSegment {
    type Err = SegmentError;

    fn from_str(text: &str) -> Result<Self, SegmentError> {
        let shown: String = text.chars().take(80).collect();
        let detail =
            format!("Can not deserialize the supplied insertionId: {shown}; it must be a UUID");
        Uuid::parse_str(text).map(Self).map_err(|_| SegmentError::new("id", detail))
    }
}

/// Filter that the query describes.
pub(super) fn read(query: &Query) -> Result<DeadLetterFilter, Problem> {
    let time = |name| query.text(name).map(|text| read_time(name, text)).transpose();
    Ok(DeadLetterFilter {
        bus: query.text("bus").map(BusName::parse).transpose()?,
        group: query.text("group").map(GroupName::parse).transpose()?,
        event_type: query.text("type").map(str::to_owned),
        user: query.text("user").map(str::to_owned),
        before: time("before")?,
        since: time("since")?,
    })
}

/// Largest number of entries, if the query limits it.
pub(super) fn limit(query: &Query) -> Result<Option<usize>, Problem> {
    let Some(text) = query.text("limit") else { return Ok(None) };
    let limit = text.parse::<i64>().map_err(|_| {
        let detail = "Can not parse limit: it must be a whole number, 0 or more";
        invalid_parameter("limit", detail.into())
    })?;
    let negative = |_| invalid_parameter("limit", "limit can not be negative".into());
    usize::try_from(limit).map(Some).map_err(negative)
}

/// Position of an entry as the store counts it.
pub(super) fn store_position(after: u64) -> i64 {
    i64::try_from(after).unwrap_or(i64::MAX)
}

/// The latest time of a last failure that `olderThan` selects, if the query has the parameter.
pub(super) fn older_than(query: &Query, clock: &Clock) -> Result<Option<OffsetDateTime>, Problem> {
    let Some(text) = query.text("olderThan") else { return Ok(None) };
    let age = age(text).filter(|age| age.as_millis() > 0);
    let before = age.and_then(|age| {
        let age = time::Duration::try_from(age.duration()).ok()?;
        clock.now().checked_sub(age)
    });
    before.map(Some).ok_or_else(|| {
        let detail = "query parameter olderThan must be a time span, such as 30day, 12h or 2weeks";
        invalid_parameter("olderThan", detail.into())
    })
}

/// Reads a time span in hearken's form or in James's.
fn age(text: &str) -> Option<Span> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (unit, times) = match unit.trim().to_ascii_lowercase().as_str() {
        "ms" | "msec" | "msecs" => ("ms", 1),
        "s" | "sec" | "secs" | "second" | "seconds" => ("s", 1),
        "m" | "min" | "mins" | "minute" | "minutes" => ("m", 1),
        "h" | "hour" | "hours" => ("h", 1),
        "d" | "day" | "days" => ("d", 1),
        "w" | "week" | "weeks" => ("d", 7),
        "month" | "months" => ("d", 30),
        "y" | "year" | "years" => ("d", 365),
        _ => return None,
    };
    let span: Span = format!("{number}{unit}").parse().ok()?;
    span.as_millis().checked_mul(times).map(Span::from_millis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_read_as_people_and_james_write_it() {
        let day = 86_400_000;
        for (text, millis) in [
            ("30day", 30 * day),
            ("30d", 30 * day),
            ("1 days", day),
            ("2weeks", 14 * day),
            ("1month", 30 * day),
            ("1y", 365 * day),
            ("90m", 5_400_000),
            ("5ms", 5),
        ] {
            assert_eq!(age(text).map(Span::as_millis), Some(millis), "{text}");
        }
        for text in ["", "30", "day", "-1day", "1fortnight", "9999999999999999y"] {
            assert_eq!(age(text), None, "{text}");
        }
    }
}
