//! Decision about an event after a failed execution. Both buses use it.
//!
//! [`Retry`] chooses the pause, and the wait level for a bus that can wait for fixed levels only.

use super::Failure;
use crate::domain::retry::Retry;
use std::time::Duration;
use uuid::Uuid;

/// Longest pause that a failure can ask for. The limit makes sure that a failing event ends as a
/// dead letter.
pub const LONGEST_ASKED: Duration = Duration::from_hours(24);

/// Decision about a failed event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The event runs again.
    Retry {
        /// Pause before the next execution.
        pause: Duration,
        /// Wait level to use instead of the pause on a bus that has only wait levels, in
        /// milliseconds.
        level: u64,
        /// Pause that the failure asks for, if the wait level is shorter. An event that returns
        /// before this pause is over waits again and does not run.
        not_before: Option<Duration>,
    },
    /// The event is kept as a dead letter.
    DeadLetter,
}

/// Judges a failed execution. `attempt` is the number of the execution, 0 for the first. `random`
/// is at least 0 and below 1.
#[must_use]
pub fn verdict(retry: &Retry, attempt: u32, failure: &Failure, random: f64) -> Verdict {
    let asked = match failure {
        Failure::Permanent(_) => return Verdict::DeadLetter,
        _ if attempt >= retry.attempts => return Verdict::DeadLetter,
        Failure::Transient(_) => None,
        Failure::RetryAfter { pause, .. } => Some((*pause).min(LONGEST_ASKED)),
    };
    let pause = retry.pause(attempt, random);
    let own = retry.random_level(attempt, random);
    let level = asked.map_or(own, |asked| own.max(retry.level_for(asked)));
    let not_before = asked.filter(|asked| Duration::from_millis(level) < *asked);
    Verdict::Retry { pause: asked.map_or(pause, |asked| asked.max(pause)), level, not_before }
}

/// Random number for [`verdict`], at least 0 and below 1.
#[must_use]
pub fn random() -> f64 {
    // The first 32 bits of a version 4 UUID are random (RFC 9562, section 5.4).
    f64::from(Uuid::new_v4().as_fields().0) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{retry::Jitter, span::Span};

    fn retry(attempts: u32, first: u64, max: u64, jitter: f64) -> Retry {
        Retry {
            attempts,
            first: Span::from_millis(first),
            max: Span::from_millis(max),
            jitter: Jitter::try_from(jitter).unwrap(),
        }
    }

    fn after(retry: &Retry, attempt: u32, random: f64) -> (u64, u64) {
        match verdict(retry, attempt, &Failure::new("no"), random) {
            Verdict::Retry { pause, level, not_before: None } => {
                (u64::try_from(pause.as_millis()).unwrap(), level)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_event_is_given_up_when_its_attempts_are_used_up_or_nothing_can_mend_it() {
        let retry = Retry::default();
        let judged = |attempt, failure: Failure| verdict(&retry, attempt, &failure, 0.0);
        assert!(matches!(judged(7, Failure::new("no")), Verdict::Retry { .. }));
        assert_eq!(judged(8, Failure::new("no")), Verdict::DeadLetter);
        // Of a listener that was added again with fewer attempts.
        assert_eq!(judged(80, Failure::new("no")), Verdict::DeadLetter);
        assert_eq!(judged(0, Failure::permanent("no")), Verdict::DeadLetter);
        let asked = Failure::RetryAfter { cause: "busy".into(), pause: Duration::from_secs(1) };
        assert_eq!(judged(8, asked), Verdict::DeadLetter);
        let none = Retry { attempts: 0, ..retry };
        assert_eq!(verdict(&none, 0, &Failure::new("no"), 0.0), Verdict::DeadLetter);
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_are_up_to_the_jitter_longer() {
        let retry = retry(6, 100, 1_000, 0.5);
        let least: Vec<u64> = (0..6).map(|attempt| after(&retry, attempt, 0.0).0).collect();
        assert_eq!(least, [100, 200, 400, 800, 1_000, 1_000]);
        let most: Vec<u64> = (0..6).map(|attempt| after(&retry, attempt, 0.999_999).0).collect();
        assert_eq!(most, [149, 299, 599, 1_199, 1_499, 1_499]);
        assert_eq!(after(&Retry { attempts: 100, ..retry }, 99, 0.0).0, 1_000);
    }

    #[test]
    fn levels_have_the_mean_pause_of_the_formula_and_at_least_the_plain_pause() {
        let retry = retry(8, 100, 10_000, 0.5);
        for attempt in 0..7 {
            let plain = 100 << attempt;
            let levels = (0..1_000).map(|n| after(&retry, attempt, f64::from(n) / 1_000.0).1);
            let levels: Vec<u64> = levels.collect();
            assert!(levels.iter().all(|level| [plain, plain * 2].contains(level)), "{levels:?}");
            let sum: u64 = levels.iter().sum();
            assert_eq!(sum / 1_000, plain * 5 / 4);
        }
        // 12.8 s hold 10 s and are longer than its mean of 12.5 s.
        assert!((0..1_000).all(|n| after(&retry, 7, f64::from(n) / 1_000.0).1 == 12_800));
    }

    #[test]
    fn without_jitter_or_without_a_longer_level_nothing_is_left_to_chance() {
        assert_eq!(after(&retry(8, 100, 10_000, 0.0), 3, 0.0), (800, 800));
        // The only level that exists is that of the longest pause.
        assert_eq!(after(&retry(3, 200, 200, 1.0), 0, 0.0), (200, 200));
    }

    #[test]
    fn jitter_never_makes_a_pause_many_times_as_long() {
        // Levels of 100 and 1600 ms; nothing between them.
        let retry = retry(1, 100, 1_600, 1.0);
        assert!((0..1_000).all(|n| after(&retry, 0, f64::from(n) / 1_000.0).1 == 100));
    }

    #[test]
    fn a_pause_that_the_other_side_asks_for_is_kept_also_where_no_level_holds_it() {
        let retry = retry(4, 100, 800, 0.0);
        let asked = |millis| {
            let pause = Duration::from_millis(millis);
            verdict(&retry, 0, &Failure::RetryAfter { cause: "busy".into(), pause }, 0.0)
        };
        let ms = Duration::from_millis;
        let retried = |pause, level, not_before| Verdict::Retry { pause, level, not_before };
        assert_eq!(asked(50), retried(ms(100), 100, None));
        assert_eq!(asked(300), retried(ms(300), 400, None));
        assert_eq!(asked(800), retried(ms(800), 800, None));
        assert_eq!(asked(900), retried(ms(900), 800, Some(ms(900))));
        let day = Some(LONGEST_ASKED);
        assert_eq!(asked(u64::MAX), retried(LONGEST_ASKED, 800, day));
    }

    #[test]
    fn random_numbers_are_in_range_and_differ() {
        let numbers: Vec<f64> = (0..100).map(|_| random()).collect();
        assert!(numbers.iter().all(|number| (0.0..1.0).contains(number)));
        assert!(numbers.iter().any(|number| *number < 0.5));
        assert!(numbers.iter().any(|number| *number >= 0.5));
    }
}
