//! What hearken did to the broker.

use super::{NodeRefSchema, ObjectKindSchema};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// Step of a repair plan.
#[derive(ToSchema)]
#[schema(as = Step)]
pub struct StepSchema {
    /// What the step does.
    #[schema(example = "declare")]
    pub action: String,
    /// Kind of the object that the step changes.
    pub object: ObjectKindSchema,
    /// Name of the object.
    pub name: String,
    /// Risk of the step.
    pub class: StepClassSchema,
    /// Why the step is needed.
    pub reason: String,
}

/// Risk of a step.
#[derive(ToSchema)]
#[schema(as = StepClass, rename_all = "lowercase")]
pub enum StepClassSchema {
    /// Loses nothing and may be repeated without harm.
    Safe,
    /// Needs a new generation of the queue; done on request only.
    Migrate,
    /// Deletes an object or a binding.
    Destructive,
    /// Changes nothing; the difference is only reported.
    Report,
}

/// Step of a pass, with its outcome.
#[derive(ToSchema)]
#[schema(as = StepRecord)]
pub struct StepRecordSchema {
    /// What the step does.
    #[schema(example = "declare")]
    pub action: String,
    /// Kind of the object that the step changes.
    pub object: ObjectKindSchema,
    /// Name of the object.
    pub name: String,
    /// Risk of the step.
    pub class: StepClassSchema,
    /// Why the step is needed.
    pub reason: String,
    /// Outcome of the step.
    pub outcome: StepOutcomeSchema,
    /// Number of events that the step destroyed, by the broker's count; absent when it is zero.
    #[schema(nullable = false)]
    pub destroyed: Option<u64>,
    /// The broker's error message, or what a skipped step waits for.
    #[schema(nullable = false)]
    pub error: Option<String>,
}

/// Outcome of a step.
#[derive(ToSchema)]
#[schema(as = StepOutcome, rename_all = "lowercase")]
pub enum StepOutcomeSchema {
    /// The step was about to be applied. In an interrupted pass, it is not known whether it was.
    Started,
    /// The step was done.
    Done,
    /// The broker refused the step, or its outcome is unknown.
    Failed,
    /// The step waits for its time, or an earlier step that it needs failed.
    Skipped,
}

/// State of a recorded pass.
#[derive(ToSchema)]
#[schema(as = PassState, rename_all = "lowercase")]
pub enum PassStateSchema {
    /// The pass is about to change the broker, or changes it.
    Running,
    /// The pass ended, and each of its steps has an outcome.
    Finished,
    /// The node ended in the middle of the pass, lost its lease, or could not record the outcomes.
    Interrupted,
}

/// Reconciliation pass that changed something, or was about to.
#[derive(ToSchema)]
#[schema(as = Pass, rename_all = "camelCase")]
pub struct PassSchema {
    /// Number of the pass; later passes have larger numbers.
    pub id: u64,
    /// Node that made the pass.
    pub node: NodeRefSchema,
    /// When the pass began.
    pub started_at: OffsetDateTime,
    /// State of the pass.
    pub state: PassStateSchema,
    /// When the pass ended; absent while it runs. Of an interrupted pass, when the next pass
    /// noticed that.
    #[schema(nullable = false)]
    pub finished_at: Option<OffsetDateTime>,
    /// Version of the roster that the pass worked from.
    pub version: u64,
    /// Steps of the pass, in order.
    pub steps: Vec<StepRecordSchema>,
}

/// Change of the topology: the data of a server-sent event `TopologyChanged`.
#[derive(ToSchema)]
#[schema(as = TopologyChanged)]
pub struct TopologyChangedSchema {
    /// Bus of the listener.
    pub bus: String,
    /// Version of the roster that the broker now follows.
    pub version: u64,
    /// Groups whose listener was added.
    pub added: Vec<String>,
    /// Groups whose listener was removed.
    pub removed: Vec<String>,
}
