//! History of the passes.

use crate::domain::{
    drift::ObjectKind,
    event::{NodeRef, Version},
    plan::{Step, StepClass},
};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

/// A step of a plan, as it is shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepReport {
    /// Verb of the step's action.
    pub action: String,
    /// Kind of the object that the step changes.
    pub object: ObjectKind,
    /// Name of the object.
    pub name: String,
    /// Cost of the step.
    pub class: StepClass,
    /// Reason for the step.
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

/// Outcome of a step.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "lowercase")]
pub enum StepOutcome {
    /// The step was about to be applied. In a pass that was interrupted, it is not known
    /// whether it was.
    Started,
    /// The step was applied.
    Done {
        /// Number of events that the step destroyed, as the broker counts them.
        #[serde(default, skip_serializing_if = "is_zero")]
        destroyed: u64,
    },
    /// The broker refused the step, or its outcome is not known.
    Failed {
        /// Error, in the words of the broker.
        error: String,
    },
    /// The step was not applied: an earlier step that it needs failed, or it waits for its time.
    Skipped {
        /// The failed step, or what the step waits for.
        error: String,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// A step with its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepRecord {
    /// The step.
    #[serde(flatten)]
    pub step: StepReport,
    /// Outcome of the step.
    #[serde(flatten)]
    pub outcome: StepOutcome,
}

/// State of a pass that is recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PassState {
    /// The pass is about to change the broker, or changes it.
    Running,
    /// The pass ended, and each of its steps has an outcome.
    Finished,
    /// The node ended in the middle of the pass, lost its lease, or could not record the outcomes.
    Interrupted,
}

/// A pass that changed the broker, or was about to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PassRecord {
    /// Number of the pass. Later passes have larger numbers. 0 until the record is stored.
    pub id: u64,
    /// Node that made the pass.
    pub node: NodeRef,
    /// Beginning of the pass.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// State of the pass.
    pub state: PassState,
    /// End of the pass. Of an interrupted pass, the time at which the next pass noticed that.
    #[serde(
        with = "time::serde::rfc3339::option",
        default,
        skip_serializing_if = "Option::is_none"
    )]
    pub finished_at: Option<OffsetDateTime>,
    /// Version of the roster that the pass worked by.
    pub version: Version,
    /// Steps of the pass, in order.
    pub steps: Vec<StepRecord>,
}
