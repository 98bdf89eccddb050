//! Conditions of a listener: what is true of it now, with reason, time and version.
//!
//! Conditions are computed from the roster, from the status that the last pass stored, and from the
//! reports of the nodes. They are not stored, so that no restart can leave an old condition behind.

mod evidence;

pub use evidence::ListenerEvidence;

use super::event::Version;
use serde::Serialize;
use time::OffsetDateTime;

/// Type of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum ConditionType {
    /// The broker has all objects of the listener, and a node consumes for it.
    Ready,
    /// The broker does not have all objects of the listener yet, and hearken makes them.
    Applying,
    /// The broker does not have all objects of the listener, and hearken cannot make them.
    Blocked,
    /// No node consumes for the listener, because an operator paused it.
    Paused,
    /// An earlier queue of the group waits for its deletion.
    Draining,
    /// The broker has a queue of the group that the log does not know.
    Orphan,
}

/// Whether a condition holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// The condition does not hold.
    False,
    /// The condition cannot be known, because the broker cannot be read.
    Unknown,
}

/// Reason of a condition, for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConditionReason {
    /// A node consumes for the listener.
    Consuming,
    /// An operator paused the listener.
    Paused,
    /// The objects of the listener are being made.
    Applying,
    /// The objects of the listener cannot be made.
    Blocked,
    /// No node that is up has the listener.
    NoNode,
    /// No node can run the listener.
    Impaired,
    /// The nodes start the listener.
    Starting,
    /// No pass has compared the broker with the present settings yet.
    NotCompared,
    /// Objects of the listener differ, and hearken repairs them by itself.
    Differs,
    /// The broker refused an object of the listener.
    Refused,
    /// An operator must decide about an object of the listener.
    NeedsDecision,
    /// The last pass failed, or repair is stopped for the whole broker.
    PassFailed,
    /// The queue is unbound and is deleted when its events may go.
    DeletionDue,
    /// The log neither configures the queue nor has removed it.
    UnknownToLog,
}

/// Condition of a listener.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Condition {
    /// Type of the condition.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether the condition holds.
    pub status: ConditionStatus,
    /// Reason, for programs.
    pub reason: ConditionReason,
    /// Explanation, for people: names of objects, and the words of the broker.
    pub message: String,
    /// Time since which the condition has this status.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Version of the roster that the condition is about.
    pub version: Version,
}

impl Condition {
    /// A condition that holds.
    fn holds(kind: ConditionType, reason: ConditionReason, message: String) -> Self {
        let (status, since, version) = (ConditionStatus::True, OffsetDateTime::UNIX_EPOCH, 0);
        Self { kind, status, reason, message, since, version }
    }

    /// The condition, as of a time and a version.
    fn at(self, since: OffsetDateTime, version: Version) -> Self {
        Self { since, version, ..self }
    }
}

#[cfg(test)]
mod tests;
