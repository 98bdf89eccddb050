//! What nodes tell each other and their administrators: how they are, and what they did.
//!
//! These are plain records. They are stored by one node and shown by all.

use super::{
    drift::{Drift, DriftKey, DriftKind, ObjectKind, Remedy},
    event::{NodeRef, Version},
    name::{BusName, ClassName, GroupName},
    plan::{Step, StepClass},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use time::OffsetDateTime;

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NodeState {
    /// It has not finished starting.
    Starting,
    /// It runs every listener of the roster.
    Ready,
    /// It runs all but some, which it names.
    Degraded,
    /// It is on its way out.
    Stopping,
    /// It has not been heard of for a while.
    Gone,
}

/// How a listener is on a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ListenerState {
    /// It consumes.
    Running,
    /// It is about to; the cause says what it waits for.
    Starting,
    /// The node does not know its class.
    UnknownClass,
    /// Its class could not make it.
    Failed,
}

/// A listener on a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerStatus {
    /// Its group.
    pub group: GroupName,
    /// Its class.
    pub class: ClassName,
    /// How it is.
    pub state: ListenerState,
    /// Why it is not running.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// Since when it is in that state.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NodeStatus {
    /// Its configured id.
    pub id: String,
    /// The host it runs on.
    pub host: String,
    /// The version of hearken it runs.
    pub version: String,
    /// How it is.
    pub state: NodeState,
    /// When it started, by the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it was last heard of, by the database's clock.
    #[serde(with = "time::serde::rfc3339")]
    pub last_seen: OffsetDateTime,
    /// The version of the roster it works by.
    pub roster_version: Version,
    /// Its listeners.
    pub listeners: Vec<ListenerStatus>,
}

/// How the topology is, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TopologyState {
    /// The broker was seen to hold what the roster asks for.
    Converged,
    /// Work that somebody asked for is not done.
    Pending,
    /// The broker was seen to differ.
    Drifted,
    /// So much is gone that nothing is repaired before an administrator says so.
    Blocked,
    /// The broker could not be read.
    #[default]
    Unknown,
}

/// Why the last pass failed, and since when passes do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PassFailure {
    /// Since when.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// The broker's or the database's own words.
    pub cause: String,
}

/// A drift, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DriftReport {
    /// How desired and observed disagree.
    pub kind: DriftKind,
    /// The kind of object.
    pub object: ObjectKind,
    /// Its name.
    pub name: String,
    /// What should be there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Value>,
    /// What is there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub found: Option<Value>,
    /// When it was first seen.
    #[serde(with = "time::serde::rfc3339")]
    pub since: OffsetDateTime,
    /// What mends it.
    pub remedy: Remedy,
}

impl DriftReport {
    /// The drift, first seen at `since`.
    ///
    /// # Panics
    /// Never: names and arguments are always representable in JSON.
    #[must_use]
    pub fn new(drift: &Drift, since: OffsetDateTime) -> Self {
        let DriftKey { kind, object, name } = drift.key();
        let json = |object| serde_json::to_value(object).expect("objects are plain JSON");
        let expected = drift.expected.as_ref().map(json);
        let found = drift.found.as_ref().map(json);
        Self { kind, object, name, expected, found, since, remedy: drift.remedy }
    }
}

/// What the last pass saw, whichever node made it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopologyStatus {
    /// The version that the broker was last seen to follow.
    pub reconciled_version: Version,
    /// When the broker was last read.
    #[serde(with = "time::serde::rfc3339::option", default)]
    pub observed_at: Option<OffsetDateTime>,
    /// In a word.
    pub state: TopologyState,
    /// Why passes fail, while they do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<PassFailure>,
    /// What differs.
    #[serde(default)]
    pub drift: Vec<DriftReport>,
    /// The node that made the pass.
    #[serde(default)]
    pub node: String,
    /// The buses that the broker was last seen to follow.
    #[serde(default)]
    pub buses: Option<BTreeSet<BusName>>,
}

/// A step of a plan, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// What is done.
    pub action: String,
    /// To what kind of object.
    pub object: ObjectKind,
    /// Its name.
    pub name: String,
    /// What it may cost.
    pub class: StepClass,
    /// Why.
    pub reason: String,
}

impl From<&Step> for StepReport {
    fn from(step: &Step) -> Self {
        Self {
            action: step.action.verb().to_owned(),
            object: step.action.object(),
            name: step.action.name(),
            class: step.class,
            reason: step.reason.clone(),
        }
    }
}

/// What became of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum StepOutcome {
    /// It was done.
    Done {
        /// Events it destroyed, by the broker's count.
        #[serde(default, skip_serializing_if = "is_zero")]
        destroyed: u64,
    },
    /// The broker refused it, or its outcome is not known.
    Failed {
        /// The broker's own words.
        error: String,
    },
    /// An earlier step that it needs failed, or it waits for its time.
    Skipped {
        /// Which, or for what.
        error: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A step and what became of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step.
    #[serde(flatten)]
    pub step: StepReport,
    /// What became of it.
    #[serde(flatten)]
    pub outcome: StepOutcome,
}

/// A pass that changed something: what hearken did to the broker, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassRecord {
    /// Its number; later passes have larger ones. 0 until it is stored.
    pub id: u64,
    /// The node that made it.
    pub node: NodeRef,
    /// When it began.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it ended.
    #[serde(with = "time::serde::rfc3339")]
    pub finished_at: OffsetDateTime,
    /// The roster's version it worked by.
    pub version: Version,
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
}

/// How far a task is (James WebAdmin, `/tasks`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum TaskState {
    /// Not begun.
    Waiting,
    /// Begun.
    InProgress,
    /// Somebody asked to cancel it, and it has not ended.
    CanceledRequested,
    /// Ended well.
    Completed,
    /// Ended because somebody asked.
    Canceled,
    /// Ended badly.
    Failed,
}

/// A longer piece of work that somebody asked for. Times are the database's.
#[derive(Debug, Clone, PartialEq)]
pub struct Task {
    /// Its id.
    pub id: uuid::Uuid,
    /// Its type's name.
    pub kind: String,
    /// How far it is.
    pub state: TaskState,
    /// Who asked for it.
    pub actor: String,
    /// The host that took the request.
    pub submitted_from: String,
    /// The node that runs it.
    pub node: String,
    /// The host that asked to cancel it.
    pub cancelled_from: Option<String>,
    /// When it was asked for.
    pub submitted_at: OffsetDateTime,
    /// When it began.
    pub started_at: Option<OffsetDateTime>,
    /// When it ended, in whichever way.
    pub ended_at: Option<OffsetDateTime>,
    /// What it says of its work.
    pub information: Value,
}
