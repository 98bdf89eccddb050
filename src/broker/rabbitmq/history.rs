//! How long events wait, from what the management API remembers of a queue.
//!
//! A quorum queue does not say how old its first event is, and taking it out to look would count as
//! one of the few deliveries that the queue allows it. But a queue is first in, first out: of the
//! events that waited at some time one still waits unless as many were taken since.

use serde::Deserialize;
use std::time::Duration;

/// A part of the past that the broker remembers at a resolution: RabbitMQ keeps samples of queues
/// for ten minutes by five seconds and for an hour by the minute (`sample_retention_policies`).
#[derive(Debug, Clone, Copy)]
pub(super) struct SampleWindow {
    pub(super) reach: Duration,
    pub(super) step: Duration,
}

/// The parts, the nearest first.
pub(super) const WINDOWS: [SampleWindow; 2] = [
    SampleWindow { reach: Duration::from_mins(10), step: Duration::from_secs(5) },
    SampleWindow { reach: Duration::from_hours(1), step: Duration::from_mins(1) },
];

/// A queue's samples. Some are absent until RabbitMQ has counted, and all where it is told not to.
#[derive(Deserialize)]
pub(super) struct HistoryRow {
    #[serde(default)]
    messages_ready_details: Series,
    #[serde(default)]
    message_stats: Stats,
}

#[derive(Deserialize, Default)]
struct Stats {
    /// How often an event was taken, in all.
    #[serde(default)]
    deliver_get_details: Series,
}

#[derive(Deserialize, Default)]
struct Series {
    /// The newest first.
    #[serde(default)]
    samples: Vec<Sample>,
}

#[derive(Deserialize)]
struct Sample {
    sample: i64,
    /// Milliseconds since the Unix epoch, by the broker's clock.
    timestamp: u64,
}

impl HistoryRow {
    /// For how long the oldest waiting event has waited at least.
    pub(super) fn oldest(&self) -> Option<Duration> {
        let taken = &self.message_stats.deliver_get_details.samples;
        let waited = &self.messages_ready_details.samples;
        let newest = waited.first().filter(|newest| newest.sample > 0)?;
        let taken_until = |at: u64| {
            let known = taken.iter().find(|sample| sample.timestamp <= at);
            known.map_or(0, |sample| sample.sample)
        };
        let all = taken.first().map_or(0, |sample| sample.sample);
        let left = |then: &&Sample| {
            // The difference is negative when the broker has started to count again.
            let since = all - taken_until(then.timestamp);
            since >= 0 && then.sample > since
        };
        let oldest = waited.iter().filter(left).map(|sample| sample.timestamp).min()?;
        Some(Duration::from_millis(newest.timestamp.saturating_sub(oldest)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// A queue's samples by five seconds, the newest first.
    fn oldest(waited: &[i64], taken: &[i64]) -> Option<u64> {
        let series = |values: &[i64]| {
            let samples = values.iter().enumerate();
            let samples = samples
                .map(|(n, value)| json!({"sample": value, "timestamp": 1_000_000 - n * 5_000}));
            json!({ "samples": samples.collect::<Vec<_>>() })
        };
        let row = json!({
            "messages_ready_details": series(waited),
            "message_stats": { "deliver_get_details": series(taken) }
        });
        serde_json::from_value::<HistoryRow>(row).unwrap().oldest().map(|oldest| oldest.as_secs())
    }

    #[test]
    fn where_nothing_is_taken_the_first_has_waited_since_there_was_one() {
        assert_eq!(oldest(&[7, 7, 3, 1, 0, 0], &[]), Some(15));
        assert_eq!(oldest(&[7, 7, 3, 1, 0, 0], &[9, 9, 9, 9, 9, 9]), Some(15));
        assert_eq!(oldest(&[4, 4, 4], &[]), Some(10));
    }

    #[test]
    fn what_was_taken_since_does_not_wait_any_more() {
        assert_eq!(oldest(&[5, 5, 5, 5], &[6, 4, 2, 0]), Some(10));
        assert_eq!(oldest(&[5, 5, 5, 5], &[60, 40, 20, 0]), Some(0));
    }

    #[test]
    fn nothing_is_said_of_the_time_before_the_broker_counted_anew() {
        assert_eq!(oldest(&[5, 5, 5, 5], &[1, 0, 90, 80]), Some(5));
    }

    #[test]
    fn a_queue_that_is_empty_or_that_nothing_is_remembered_of_says_nothing() {
        assert_eq!(oldest(&[0, 4, 4], &[]), None);
        assert_eq!(oldest(&[], &[]), None);
        let bare: HistoryRow = serde_json::from_value(json!({ "name": "q" })).unwrap();
        assert_eq!(bare.oldest(), None);
    }
}
