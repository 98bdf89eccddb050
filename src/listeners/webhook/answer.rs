//! Meaning of a receiver's answer.

use crate::{bus::Failure, clock::Clock, listeners::Redactions};
use reqwest::{
    Response, StatusCode,
    header::{LOCATION, RETRY_AFTER},
};
use std::time::Duration;
use time::{
    OffsetDateTime, PrimitiveDateTime, format_description::BorrowedFormatItem,
    macros::format_description,
};

/// `Sun, 06 Nov 1994 08:49:37 GMT`.
const IMF_FIXDATE: &[BorrowedFormatItem<'_>] = format_description!(
    "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
);
/// Largest part of an answer that is shown, in bytes.
const SHOWN: usize = 300;
/// Largest part of an answer that is read so that its connection can be used again, in bytes.
const DRAINED: usize = 64 * 1024;
/// Longest time to read that part. The connection is closed when it takes longer.
const DRAIN: Duration = Duration::from_secs(1);
/// Longest pause that a receiver can ask for. The pauses of a listener's `retry` have the same
/// limit.
const LONGEST: Duration = Duration::from_hours(1);

/// Judges an answer. A status from 200 to 299 is a success; any other is a failure with the status
/// and the beginning of the answer.
///
/// A receiver may repeat what it was sent, so secret values are taken out of the answer before it
/// is cut.
pub(super) async fn judge(
    url: &str,
    response: Response,
    redactions: &Redactions,
    clock: &Clock,
) -> Result<(), Failure> {
    let status = response.status();
    let retry_after = retry_after(&response, clock);
    let location = location(&response, redactions);
    let beginning = beginning(response, redactions).await;
    if status.is_success() {
        return Ok(());
    }
    let detail = if status.is_redirection() {
        let to = location.map(|to| format!(" to {to}")).unwrap_or_default();
        format!(", a redirect{to}; redirects are not followed, configure the final URL")
    } else if beginning.is_empty() {
        String::new()
    } else {
        format!(": {beginning}")
    };
    let cause = format!("{url} answered {status}{detail}");
    Err(match retry_after {
        Some(pause) => Failure::RetryAfter { cause, pause },
        None => Failure::Transient(cause),
    })
}

/// The pause that the receiver asks for.
fn retry_after(response: &Response, clock: &Clock) -> Option<Duration> {
    let asks = [StatusCode::TOO_MANY_REQUESTS, StatusCode::SERVICE_UNAVAILABLE];
    if !asks.contains(&response.status()) {
        return None;
    }
    pause(response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim(), clock.now())
}

/// Reads a pause: a number of seconds, or a date (RFC 9110, section 10.2.3) in the form that
/// section 5.6.7 asks senders to use. A date in the past asks for no pause.
fn pause(asked: &str, now: OffsetDateTime) -> Option<Duration> {
    let pause = if let Ok(seconds) = asked.parse() {
        Duration::from_secs(seconds)
    } else {
        let date = PrimitiveDateTime::parse(asked, IMF_FIXDATE).ok()?.assume_utc();
        Duration::try_from(date - now).ok()?
    };
    Some(pause.min(LONGEST))
}

fn location(response: &Response, redactions: &Redactions) -> Option<String> {
    let location = response.headers().get(LOCATION)?.to_str().ok()?;
    let shown = redactions.redact(location);
    let shown = shown.split(['?', '#']).next().unwrap_or_default();
    Some(shown.chars().take(SHOWN).collect())
}

/// The first bytes of the body as one line of text. Reads no more than a bounded part of the
/// body, for a bounded time.
async fn beginning(mut response: Response, redactions: &Redactions) -> String {
    let wanted = SHOWN + redactions.longest();
    let mut first = Vec::new();
    let drain = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            let room = wanted.saturating_sub(first.len()).min(chunk.len());
            first.extend_from_slice(&chunk[..room]);
            read += chunk.len();
            if read > DRAINED {
                break;
            }
        }
    };
    // The bytes that arrived in time are enough.
    let _ = tokio::time::timeout(DRAIN, drain).await;
    let text = redactions.redact(&String::from_utf8_lossy(&first));
    let text = &text[..text.floor_char_boundary(SHOWN)];
    text.split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|word| !word.is_empty())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date() {
        let now = datetime!(1994-11-06 08:49:07 UTC);
        for (asked, expected) in [
            ("0", Some(0)),
            ("120", Some(120)),
            ("86400", Some(3_600)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(30)),
            ("Mon, 07 Nov 1994 08:49:37 GMT", Some(3_600)),
            ("Sat, 05 Nov 1994 08:49:37 GMT", None),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(pause(asked, now), expected.map(Duration::from_secs), "{asked}");
        }
    }
}
