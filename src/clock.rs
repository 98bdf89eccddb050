//! Time as a parameter.
//!
//! Every room that needs the time holds a [`Clock`] and asks it; `.clippy.toml` refuses the ambient
//! clocks everywhere else. A test turns a clock forward instead of waiting.

use parking_lot::Mutex;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use time::OffsetDateTime;

/// Source of wall-clock time and of monotonic time. Clones share one clock.
///
/// Wall-clock time is for display, ages and pauses. What is recorded takes the database's clock,
/// and nothing is ordered by wall-clock time.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    /// How far the hand has turned this clock forward; absent for the machine's clock.
    ahead: Option<Arc<Mutex<Duration>>>,
}

/// Turns one clock forward. For tests.
#[derive(Debug)]
pub struct Hand(Arc<Mutex<Duration>>);

impl Clock {
    /// The clock of this machine.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that runs with the machine's clock and that the hand turns forward.
    #[must_use]
    pub fn turnable() -> (Self, Hand) {
        let ahead = Arc::new(Mutex::default());
        (Self { ahead: Some(Arc::clone(&ahead)) }, Hand(ahead))
    }

    /// Wall-clock time, in UTC.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    pub fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc() + self.ahead()
    }

    /// Monotonic time, for durations, deadlines and pauses.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the time")]
    pub fn monotonic(&self) -> Instant {
        Instant::now() + self.ahead()
    }

    /// Time since a monotonic time of this clock.
    #[must_use]
    pub fn elapsed(&self, since: Instant) -> Duration {
        self.monotonic().saturating_duration_since(since)
    }

    fn ahead(&self) -> Duration {
        self.ahead.as_ref().map_or(Duration::ZERO, |ahead| *ahead.lock())
    }
}

impl Hand {
    /// Turns the clock forward.
    pub fn forward(&self, by: Duration) {
        *self.0.lock() += by;
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hand_turns_both_times_of_every_clone_forward() {
        let (clock, hand) = Clock::turnable();
        let (wall, monotonic) = (clock.now(), clock.monotonic());
        let other = clock.clone();
        hand.forward(Duration::from_mins(1));
        assert!(other.now() - wall >= Duration::from_mins(1));
        assert!(other.elapsed(monotonic) >= Duration::from_mins(1));
    }
}
