//! Time, where the database's own clock is not at hand.

use time::OffsetDateTime;

/// Now, in UTC, by this machine's clock. For display and for pauses; what is recorded takes the
/// database's clock, and nothing is ordered by time.
#[must_use]
pub fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}

/// A time as microseconds since the Unix epoch, as the database keeps it.
#[must_use]
pub fn to_micros(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// A time from microseconds since the Unix epoch, as the database keeps it.
#[must_use]
pub fn from_micros(micros: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
}
