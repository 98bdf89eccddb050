//! The pauses between the executions of an event that fails.
//!
//! # Pauses
//! The plain pause before retry `n` (the first is 0) is `first` × 2ⁿ and at most `max`. Jitter
//! makes it longer by a random share between 0 and `jitter`, so that events that failed together
//! do not all return together.
//!
//! # Levels
//! The in-process bus waits for exactly the jittered pause. RabbitMQ waits for the time-to-live of
//! a wait queue, and wait queues exist only for the levels of [`Retry::levels`]. There an event
//! takes the level of twice the pause with a certain probability, which makes the mean pause equal
//! to the mean of the jittered pauses. The choice is fixed in two cases: the shortest level that
//! holds the pause is already longer than that mean, or the listener has no level of twice the
//! pause.

use super::span::Span;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// The shortest wait level, in milliseconds. Each next level is twice as long.
pub const FIRST_LEVEL: u64 = 100;

/// The largest share of a pause that is added to the pause at random. Written as a number from 0 to
/// 1, with two digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "f64", into = "f64")]
pub struct Jitter {
    percent: u8,
}

/// A number that is not a valid jitter, because it is not between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
#[error("{0} is not between 0 and 1")]
pub struct JitterError(f64);

impl Default for Jitter {
    fn default() -> Self {
        Self { percent: 50 }
    }
}

impl TryFrom<f64> for Jitter {
    type Error = JitterError;
    fn try_from(share: f64) -> Result<Self, JitterError> {
        if !(0.0..=1.0).contains(&share) {
            return Err(JitterError(share));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "between 0 and 100"
        )]
        Ok(Self { percent: (share * 100.0).round() as u8 })
    }
}

impl From<Jitter> for f64 {
    fn from(jitter: Jitter) -> Self {
        Self::from(jitter.percent) / 100.0
    }
}

/// A listener's retry setting: how often a failed event runs again, and after which pauses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Retry {
    /// Number of retries after the first execution.
    pub attempts: u32,
    /// Pause before the first retry.
    pub first: Span,
    /// Longest pause, before the jitter.
    pub max: Span,
    /// Largest share by which a pause is made longer.
    pub jitter: Jitter,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 8,
            first: Span::from_millis(100),
            max: Span::from_secs(10),
            jitter: Jitter::default(),
        }
    }
}

impl Retry {
    /// Pause before retry `attempt` (the first is 0). `random` is at least 0 and below 1.
    #[must_use]
    pub fn pause(&self, attempt: u32, random: f64) -> Duration {
        let plain = Duration::from_millis(self.plain_pause(attempt));
        plain.mul_f64(1.0 + f64::from(self.jitter) * random)
    }

    /// Wait level for retry `attempt`, in milliseconds: [`Retry::level_after`], or the level of
    /// twice the pause with the probability that the module's text explains. `random` is at least
    /// 0 and below 1.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "pauses are far below 2^52 milliseconds")]
    pub fn random_level(&self, attempt: u32, random: f64) -> u64 {
        let base = self.level_after(attempt);
        let longer = base * 2;
        if !self.levels().any(|level| level == longer) {
            return base;
        }
        let mean = self.plain_pause(attempt) as f64 * (1.0 + f64::from(self.jitter) / 2.0);
        let share = (mean - base as f64) / (longer - base) as f64;
        if random < share { longer } else { base }
    }

    /// Shortest wait level, in milliseconds, that holds the plain pause after execution `attempt`
    /// (the first is 0) failed. The longest level when the attempts are used up.
    #[must_use]
    pub fn level_after(&self, attempt: u32) -> u64 {
        let pause = self.plain_pause(if attempt < self.attempts { attempt } else { u32::MAX });
        let mut level = FIRST_LEVEL;
        while level < pause {
            level *= 2;
        }
        level
    }

    /// Shortest wait level, in milliseconds, that is not shorter than `pause`; the longest level
    /// when all are shorter.
    #[must_use]
    pub fn level_for(&self, pause: Duration) -> u64 {
        let fits = |level: &u64| Duration::from_millis(*level) >= pause;
        self.levels().filter(fits).min().unwrap_or_else(|| self.longest_level())
    }

    /// Longest wait level, in milliseconds.
    #[must_use]
    pub fn longest_level(&self) -> u64 {
        self.level_after(self.attempts)
    }

    /// Wait levels that events of the listener can take, in milliseconds. A level may repeat.
    pub fn levels(&self) -> impl Iterator<Item = u64> {
        (0..=self.attempts).map(|attempt| self.level_after(attempt))
    }

    /// Pause before retry `attempt` without jitter, in milliseconds.
    fn plain_pause(&self, attempt: u32) -> u64 {
        self.first.as_millis().saturating_mul(1 << attempt.min(40)).min(self.max.as_millis())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(attempts: u32, first: u64, max: u64, jitter: f64) -> Retry {
        Retry {
            attempts,
            first: Span::from_millis(first),
            max: Span::from_millis(max),
            jitter: Jitter::try_from(jitter).unwrap(),
        }
    }

    fn millis(retry: &Retry, attempt: u32, random: f64) -> u64 {
        u64::try_from(retry.pause(attempt, random).as_millis()).unwrap()
    }

    #[test]
    fn jitter_is_a_share_of_the_pause() {
        let retry: Retry = serde_json::from_str(r#"{"jitter":0.25}"#).unwrap();
        assert_eq!(f64::from(retry.jitter).to_string(), "0.25");
        for wrong in [-0.1, 1.1, f64::NAN] {
            assert!(Jitter::try_from(wrong).is_err());
        }
    }

    #[test]
    fn levels_double_and_stop_at_the_longest_pause() {
        let long = retry(5, 150, 500, 0.5);
        assert_eq!(long.levels().collect::<Vec<_>>(), [200, 400, 800, 800, 800, 800]);
        let short = Retry { attempts: 1, ..long };
        assert_eq!(short.levels().collect::<Vec<_>>(), [200, 800]);
        assert_eq!(Retry::default().level_after(8), 12_800);
        assert_eq!(Retry::default().longest_level(), 12_800);
    }

    #[test]
    fn a_level_for_a_pause_holds_the_pause_or_is_the_longest() {
        let retry = retry(4, 100, 800, 0.0);
        let level = |millis| retry.level_for(Duration::from_millis(millis));
        assert_eq!([50, 300, 800, 900].map(level), [100, 400, 800, 800]);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_up_to_the_jitter_longer() {
        let retry = retry(6, 100, 1_000, 0.5);
        let least: Vec<u64> = (0..6).map(|attempt| millis(&retry, attempt, 0.0)).collect();
        assert_eq!(least, [100, 200, 400, 800, 1_000, 1_000]);
        let most: Vec<u64> = (0..6).map(|attempt| millis(&retry, attempt, 0.999_999)).collect();
        assert_eq!(most, [149, 299, 599, 1_199, 1_499, 1_499]);
        assert_eq!(millis(&Retry { attempts: 100, ..retry }, 99, 0.0), 1_000);
    }

    #[test]
    fn random_levels_have_the_mean_of_the_pauses_and_hold_the_plain_pause() {
        let retry = retry(8, 100, 10_000, 0.5);
        let level = |attempt, n: i32| retry.random_level(attempt, f64::from(n) / 1_000.0);
        for attempt in 0..7 {
            let plain = 100 << attempt;
            let levels: Vec<u64> = (0..1_000).map(|n| level(attempt, n)).collect();
            assert!(levels.iter().all(|level| [plain, plain * 2].contains(level)), "{levels:?}");
            assert_eq!(levels.iter().sum::<u64>() / 1_000, plain * 5 / 4);
        }
        // 12.8 s hold 10 s and are longer than its mean of 12.5 s.
        assert!((0..1_000).all(|n| level(7, n) == 12_800));
    }

    #[test]
    fn without_jitter_or_a_longer_level_the_level_is_fixed() {
        assert_eq!(retry(8, 100, 10_000, 0.0).random_level(3, 0.0), 800);
        // The only level that exists is the level of the longest pause.
        assert_eq!(retry(3, 200, 200, 1.0).random_level(0, 0.0), 200);
    }

    #[test]
    fn jitter_never_makes_a_pause_many_times_as_long() {
        // Levels of 100 and 1600 ms; nothing between them.
        let retry = retry(1, 100, 1_600, 1.0);
        assert!((0..1_000).all(|n| retry.random_level(0, f64::from(n) / 1_000.0) == 100));
    }
}
