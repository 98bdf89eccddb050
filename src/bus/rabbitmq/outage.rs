//! What is tried again until it works: the pauses, and one line in the log for each outage.

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};
use std::time::{Duration, Instant};

/// How long something is away before it is worth a warning. A queue that the reconciler is about to
/// declare, and a broker that fails over, are back sooner.
const NOTICE: Duration = Duration::from_secs(2);

/// Growing jittered pauses.
pub(super) fn pauses(first: Duration, longest: Duration) -> ExponentialBackoff {
    // The jitter adds up to the pause itself: half of it keeps the sum in range.
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(longest / 2)
        .with_jitter()
        .without_max_times()
        .build()
}

/// Something that is up, or tried again with growing pauses.
pub(super) struct Outage {
    what: String,
    since: Option<Instant>,
    warned: bool,
    pauses: ExponentialBackoff,
}

impl Outage {
    /// `what` is a noun phrase that begins a sentence.
    pub(super) fn new(what: String) -> Self {
        Self { what, since: None, warned: false, pauses: Self::fresh() }
    }

    fn fresh() -> ExponentialBackoff {
        pauses(Duration::from_millis(250), Duration::from_secs(10))
    }

    /// It does not work. Returns how long to wait.
    pub(super) fn failed(&mut self, cause: &str) -> Duration {
        let since = *self.since.get_or_insert_with(Instant::now);
        if since.elapsed() >= NOTICE && !self.warned {
            self.warned = true;
            tracing::warn!(cause, "{} is interrupted and tried again: {cause}", self.what);
        } else {
            tracing::debug!(cause, "{} does not work yet: {cause}", self.what);
        }
        self.pauses.next().unwrap_or(Duration::from_secs(10))
    }

    /// It works.
    pub(super) fn over(&mut self) {
        if self.warned {
            let away = self.since.map_or(Duration::ZERO, |since| since.elapsed()).as_secs();
            tracing::info!(seconds = away, "{} works again after {away} s", self.what);
        }
        self.since = None;
        self.warned = false;
        self.pauses = Self::fresh();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_differ_and_stay_within_their_limit() {
        let of = || {
            let pauses = pauses(Duration::from_millis(250), Duration::from_secs(10));
            pauses.take(50).collect::<Vec<_>>()
        };
        let (one, other) = (of(), of());
        assert_ne!(one, other);
        assert!(one[0] >= Duration::from_millis(250) && one[0] <= Duration::from_millis(500));
        assert!(one[49] >= Duration::from_secs(5), "{one:?}");
        assert!(one.iter().all(|pause| *pause <= Duration::from_secs(10)), "{one:?}");
    }
}
