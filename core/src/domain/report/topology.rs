//! State of the topology.

use crate::domain::{
    drift::{Drift, DriftKey, DriftKind, ObjectKind, Remedy},
    event::Version,
    layout::Layout,
    name::BusName,
    roster::Configured,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// State of the topology, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopologyState {
    /// The last observation of the broker agrees with the roster.
    Converged,
    /// A change that an administrator asked for is not made yet.
    Pending,
    /// The last observation of the broker differs from the roster.
    Drifted,
    /// Nothing is changed on the broker before an administrator decides: see
    /// [`Blockage`](crate::domain::breaker::Blockage).
    Blocked,
    /// The broker could not be read.
    #[default]
    Unknown,
}

/// Failure of the last pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassFailure {
    /// Time of the first failed pass after the last successful pass.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Cause of the last failure, in the words of the broker or the database.
    pub cause: String,
}

/// A drift, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    /// The way in which the topologies differ.
    pub kind: DriftKind,
    /// Kind of the object.
    pub object: ObjectKind,
    /// Name of the object.
    pub name: String,
    /// The desired object, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// The observed object, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
    /// Time at which the drift was first seen.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// Repair of the drift.
    pub remedy: Remedy,
    /// Whether the roster asks for the change, and the change is not made yet. Otherwise the object
    /// was lost, or changed by hand.
    #[serde(default)]
    pub unfinished: bool,
    /// Words of the broker, which refused the repair. hearken tries again after growing pauses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

impl DriftReport {
    /// Report of a drift that was first seen at `since`, and that no change of the roster explains.
    ///
    /// # Panics
    /// Never: names and arguments can always be written as JSON.
    #[must_use]
    pub fn new(drift: &Drift, since: OffsetDateTime) -> Self {
        let DriftKey { kind, object, name } = drift.key();
        let json = |object| serde_json::to_value(object).expect("objects are plain JSON");
        let expected = drift.expected.as_ref().map(json);
        let found = drift.found.as_ref().map(json);
        let remedy = drift.remedy;
        let (unfinished, refusal) = (false, None);
        Self { kind, object, name, expected, found, since, remedy, unfinished, refusal }
    }

    /// Identity of the drift across observations.
    #[must_use]
    pub fn key(&self) -> DriftKey {
        DriftKey { kind: self.kind, object: self.object, name: self.name.clone() }
    }

    /// Names that the drift concerns: the object, and the destination of a binding.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let object = self.expected.as_ref().or(self.found.as_ref());
        let destination = object.and_then(|object| object["destination"].as_str());
        std::iter::once(self.name.as_str()).chain(destination)
    }

    /// Whether the drift concerns a queue or one of its bindings.
    fn concerns(&self, queue: &str) -> bool {
        self.names().any(|name| name == queue)
    }

    /// Whether the drift makes the topology wrong, by the rule of [`Drift::is_wrong`].
    #[must_use]
    pub fn is_wrong(&self) -> bool {
        match self.kind {
            DriftKind::Foreign => self.expected.is_some(),
            _ => self.remedy != Remedy::Delete,
        }
    }
}

/// Result of the last pass of any node.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyStatus {
    /// Version of the roster that the last pass compared the broker with. Objects that differ from
    /// it are in `drift`.
    pub reconciled_version: Version,
    /// Time of the last observation of the broker.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub observed_at: Option<OffsetDateTime>,
    /// State of the topology, in one word.
    pub state: TopologyState,
    /// Failure of the last pass; absent after a successful pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<PassFailure>,
    /// Sign that the broker knows a later history than the log. As long as it is there, no pass
    /// unbinds or deletes anything.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restraint: Option<String>,
    /// Differences that the last pass left.
    #[serde(default)]
    pub drift: Vec<DriftReport>,
    /// Node that made the pass.
    #[serde(default)]
    pub node: String,
    /// Buses that the broker was last seen to follow.
    #[serde(default)]
    pub buses: Option<BTreeSet<BusName>>,
}

impl TopologyStatus {
    /// Whether the broker has everything that a listener needs: its queues as desired, and all
    /// bindings of these queues. A listener that runs on every node needs no queue.
    #[must_use]
    pub fn has_listener(&self, layout: &Layout, configured: &Configured) -> bool {
        let queues = configured.queues(layout);
        let differs = |drift: &DriftReport| {
            drift.is_wrong() && queues.iter().any(|queue| drift.concerns(queue))
        };
        self.reconciled_version >= configured.version && !self.drift.iter().any(differs)
    }

    /// Whether nothing is left to do about a queue whose listener a version of the roster removed:
    /// the queue is unbound, and deleted if its events were not kept.
    #[must_use]
    pub fn has_let_go(&self, queue: &str, version: Version) -> bool {
        let is_left = |drift: &DriftReport| drift.concerns(queue);
        self.reconciled_version >= version && !self.drift.iter().any(is_left)
    }
}
