//! Waiting time of events, from the samples that the management API keeps of a queue.
//!
//! A quorum queue does not tell the age of its first event, and taking the event out would count as
//! one of the few deliveries that the queue allows. But a queue is first in, first out. So of the
//! events that waited at some time, one still waits unless that many events were taken since.

use serde::Deserialize;
use std::time::Duration;

/// A part of the past with samples at one resolution. RabbitMQ keeps samples of a queue every five
/// seconds for ten minutes, and every minute for an hour (`sample_retention_policies`).
#[derive(Debug, Clone, Copy)]
pub(super) struct SampleWindow {
    pub(super) reach: Duration,
    pub(super) step: Duration,
}

/// The parts, the latest first.
pub(super) const WINDOWS: [SampleWindow; 2] = [
    SampleWindow { reach: Duration::from_mins(10), step: Duration::from_secs(5) },
    SampleWindow { reach: Duration::from_hours(1), step: Duration::from_mins(1) },
];

/// Samples of a queue. Some are absent until RabbitMQ has counted, and all when statistics are
/// disabled.
#[derive(Deserialize)]
pub(super) struct HistoryRow {
    #[serde(default)]
    messages_ready_details: Series,
    #[serde(default)]
    message_stats: Stats,
}

#[derive(Deserialize, Default)]
struct Stats {
    /// Total number of events that were taken.
    #[serde(default)]
    deliver_get_details: Series,
}

#[derive(Deserialize, Default)]
struct Series {
    /// Samples, the newest first.
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
    /// Shortest time that the oldest waiting event can have waited.
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
    fn without_deliveries_the_first_event_has_waited_since_the_queue_had_events() {
        assert_eq!(oldest(&[7, 7, 3, 1, 0, 0], &[]), Some(15));
        assert_eq!(oldest(&[7, 7, 3, 1, 0, 0], &[9, 9, 9, 9, 9, 9]), Some(15));
        assert_eq!(oldest(&[4, 4, 4], &[]), Some(10));
    }

    #[test]
    fn events_that_were_taken_since_do_not_wait_any_more() {
        assert_eq!(oldest(&[5, 5, 5, 5], &[6, 4, 2, 0]), Some(10));
        assert_eq!(oldest(&[5, 5, 5, 5], &[60, 40, 20, 0]), Some(0));
    }

    #[test]
    fn samples_from_before_a_reset_of_the_counters_are_ignored() {
        assert_eq!(oldest(&[5, 5, 5, 5], &[1, 0, 90, 80]), Some(5));
    }

    #[test]
    fn an_empty_queue_and_a_queue_without_samples_have_no_waiting_time() {
        assert_eq!(oldest(&[0, 4, 4], &[]), None);
        assert_eq!(oldest(&[], &[]), None);
        let bare: HistoryRow = serde_json::from_value(json!({ "name": "q" })).unwrap();
        assert_eq!(bare.oldest(), None);
    }
}
