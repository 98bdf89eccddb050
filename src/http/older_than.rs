//! The query parameter `olderThan`, an age as people and James write it.

use super::{
    parameters::{Query, invalid_parameter},
    problem::Problem,
};
use crate::{clock::Clock, domain::span::Span};
use time::OffsetDateTime;

/// The time before which `olderThan` selects, if the query has the parameter.
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
