//! How long the cluster's records are kept.
//!
//! The log of the roster is kept for ever. Every other record that grows with use has a limit here.

use super::span::Span;
use serde::{Deserialize, Serialize};

/// Limits of the records of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Retention {
    /// Age at which a dead letter is removed, counted from its last failure. Events that could not
    /// be published have no age limit.
    pub dead_letters: Span,
    /// Limit of each group's dead letters, at which the group keeps no further one.
    pub dead_letter_quota: DeadLetterQuota,
    /// Limits of ended tasks.
    pub tasks: HistoryLimit,
    /// Limits of the ids of commands, by which a repeated command is recognised.
    pub commands: HistoryLimit,
    /// Limits of the records of passes.
    pub passes: HistoryLimit,
}

impl Default for Retention {
    fn default() -> Self {
        let limit = |count| HistoryLimit { age: MONTH, count };
        Self {
            dead_letters: MONTH,
            dead_letter_quota: DeadLetterQuota::default(),
            tasks: limit(10_000),
            commands: limit(100_000),
            passes: limit(10_000),
        }
    }
}

const MONTH: Span = Span::from_secs(30 * 24 * 3_600);

/// Age and number beyond which records are removed, the oldest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HistoryLimit {
    /// Age at which a record is removed.
    pub age: Span,
    /// Number of the newest records that are kept.
    pub count: u64,
}

/// Limit of the dead letters of one group on one bus.
///
/// A group that reaches the limit keeps no further dead letter: its failed events stay with the
/// broker and run again, at the longest pause of the listener, until entries are removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetterQuota {
    /// Number of entries.
    pub entries: u64,
    /// Bytes of the entries' events.
    pub bytes: u64,
}

impl Default for DeadLetterQuota {
    fn default() -> Self {
        Self { entries: 1_000_000, bytes: 1 << 30 }
    }
}

impl DeadLetterQuota {
    /// Whether a group with this many entries and bytes keeps no further dead letter.
    #[must_use]
    pub fn is_reached(&self, entries: u64, bytes: u64) -> bool {
        entries >= self.entries || bytes >= self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn either_limit_of_the_quota_stops_a_group() {
        let quota = DeadLetterQuota { entries: 10, bytes: 100 };
        assert!(!quota.is_reached(9, 99));
        assert!(quota.is_reached(10, 0));
        assert!(quota.is_reached(1, 100));
    }
}
