//! One outage of something that hearken tries again until it works.

use crate::clock::Clock;
use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::{Duration, Instant};

/// First and longest pause of an outage that has no pauses of its own.
const PAUSES: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// Growing pauses with jitter, from `first` to `longest`, without end.
#[must_use]
pub fn pauses(first: Duration, longest: Duration) -> ExponentialBackoff {
    // The jitter adds up to the pause itself: half of it keeps the sum in range.
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Which failures of one outage are reported in the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reporting {
    /// The outage is one WARN, also when it has several causes.
    Once,
    /// Each cause that differs from the last reported cause is one ERROR.
    EachCause,
}

/// Something that fails, is tried again after growing pauses, and works again some time later.
///
/// The log has one line when the outage begins and one INFO with its length when the outage ends.
/// Every other failure is a DEBUG. An outage that was never reported ends without a line.
#[derive(Debug)]
pub struct Outage {
    failing: String,
    recovered: String,
    reporting: Reporting,
    /// How long an outage lasts before it is reported.
    grace: Duration,
    first: Duration,
    longest: Duration,
    clock: Clock,
    since: Option<Instant>,
    reported: Option<String>,
    pauses: ExponentialBackoff,
}

impl Outage {
    /// Something that works. `failing` and `recovered` are the beginnings of the two lines in the
    /// log: what fails and what hearken does about it, and what works again.
    pub fn new(clock: &Clock, failing: impl Into<String>, recovered: impl Into<String>) -> Self {
        let (first, longest) = PAUSES;
        Self {
            failing: failing.into(),
            recovered: recovered.into(),
            reporting: Reporting::Once,
            grace: Duration::ZERO,
            first,
            longest,
            clock: clock.clone(),
            since: None,
            reported: None,
            pauses: pauses(first, longest),
        }
    }

    /// Reports by another rule than [`Reporting::Once`].
    #[must_use]
    pub fn reporting(self, reporting: Reporting) -> Self {
        Self { reporting, ..self }
    }

    /// Reports an outage only when it has lasted for this long.
    #[must_use]
    pub fn reported_after(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Pauses from `first` to `longest` instead of 250 ms to 10 s.
    #[must_use]
    pub fn with_pauses(self, first: Duration, longest: Duration) -> Self {
        Self { first, longest, pauses: pauses(first, longest), ..self }
    }

    /// Notes a failure. Returns the pause until the next try.
    pub fn failed(&mut self, cause: &str) -> Duration {
        let since = *self.since.get_or_insert_with(|| self.clock.monotonic());
        let due = self.clock.elapsed(since) >= self.grace;
        let known = match self.reporting {
            Reporting::Once => self.reported.is_some(),
            Reporting::EachCause => self.reported.as_deref() == Some(cause),
        };
        let failing = &self.failing;
        if due && !known {
            match self.reporting {
                Reporting::Once => tracing::warn!(cause, "{failing}: {cause}"),
                Reporting::EachCause => tracing::error!(cause, "{failing}: {cause}"),
            }
            self.reported = Some(cause.to_owned());
        } else {
            tracing::debug!(cause, "{failing}: {cause}");
        }
        self.pauses.next().unwrap_or(self.longest)
    }

    /// Notes a success, which ends an outage.
    pub fn over(&mut self) {
        let Some(since) = self.since.take() else { return };
        if self.reported.take().is_some() {
            let seconds = self.clock.elapsed(since).as_secs();
            tracing::info!(seconds, "{} after {seconds} s", self.recovered);
        }
        self.pauses = pauses(self.first, self.longest);
    }

    /// Time since the first failure; zero while there is no outage.
    #[must_use]
    pub fn length(&self) -> Duration {
        self.since.map_or(Duration::ZERO, |since| self.clock.elapsed(since))
    }

    /// Whether the last try failed.
    #[must_use]
    pub fn lasts(&self) -> bool {
        self.since.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outage(clock: &Clock) -> Outage {
        Outage::new(clock, "the broker is away", "the broker is back")
    }

    #[test]
    fn pauses_grow_differ_and_stay_within_their_limit() {
        let fifty = || {
            let pauses = pauses(Duration::from_millis(250), Duration::from_secs(10));
            pauses.take(50).collect::<Vec<_>>()
        };
        let (one, other) = (fifty(), fifty());
        assert_ne!(one, other);
        assert!(one[0] >= Duration::from_millis(250) && one[0] <= Duration::from_millis(500));
        assert!(one[49] >= Duration::from_secs(5), "{one:?}");
        assert!(one.iter().all(|pause| *pause <= Duration::from_secs(10)), "{one:?}");
    }

    #[test]
    fn an_outage_is_reported_once_and_only_after_its_grace() {
        let (clock, hand) = Clock::turnable();
        let mut outage = outage(&clock).reported_after(Duration::from_mins(1));
        outage.failed("refused");
        assert_eq!(outage.reported, None);
        hand.forward(Duration::from_mins(1));
        outage.failed("silent");
        outage.failed("refused");
        assert_eq!(outage.reported.as_deref(), Some("silent"));
        outage.over();
        assert!(outage.reported.is_none() && !outage.lasts());
    }

    #[test]
    fn each_new_cause_is_reported_where_the_rule_says_so() {
        let mut outage = outage(&Clock::system()).reporting(Reporting::EachCause);
        for cause in ["refused", "silent"] {
            outage.failed(cause);
            assert_eq!(outage.reported.as_deref(), Some(cause));
        }
    }

    #[test]
    fn a_success_makes_the_next_pause_short_again() {
        let (first, longest) = (Duration::from_millis(10), Duration::from_mins(1));
        let mut outage = outage(&Clock::system()).with_pauses(first, longest);
        let grown = (0..20).map(|_| outage.failed("refused")).max();
        assert!(grown > Some(Duration::from_secs(5)), "{grown:?}");
        outage.over();
        assert!(outage.failed("refused") <= first * 2);
    }
}
