//! What was done to a broker.

use super::{NodeRef, ObjectKind};
use time::OffsetDateTime;
use utoipa::ToSchema;

/// A step of a plan.
#[derive(ToSchema)]
pub struct Step {
    /// What is done.
    #[schema(example = "declare")]
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

/// How much a step may cost.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum StepClass {
    /// Loses nothing and is repeated without harm.
    Safe,
    /// Needs a new generation of the queue; on request.
    Migrate,
    /// Takes something away.
    Destructive,
    /// Only said.
    Report,
}

/// A step and what became of it.
#[derive(ToSchema)]
pub struct StepRecord {
    /// What was done.
    #[schema(example = "declare")]
    pub action: String,
    /// To what kind of object.
    pub object: ObjectKind,
    /// Its name.
    pub name: String,
    /// What it may cost.
    pub class: StepClass,
    /// Why.
    pub reason: String,
    /// What became of it.
    pub outcome: StepOutcome,
    /// Events it destroyed, by the broker's count, where it destroyed some.
    #[schema(nullable = false)]
    pub destroyed: Option<u64>,
    /// The broker's words, or what a skipped step waits for.
    #[schema(nullable = false)]
    pub error: Option<String>,
}

/// What became of a step.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
pub enum StepOutcome {
    /// It was done.
    Done,
    /// The broker refused it, or its outcome is not known.
    Failed,
    /// An earlier step that it needs failed, or it waits for its time.
    Skipped,
}

/// A pass that changed something.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
pub struct Pass {
    /// Its number; later passes have larger ones.
    pub id: u64,
    /// The node that made it.
    pub node: NodeRef,
    /// When it began.
    pub started_at: OffsetDateTime,
    /// When it ended.
    pub finished_at: OffsetDateTime,
    /// The roster's version it worked by.
    pub version: u64,
    /// Its steps, in order.
    pub steps: Vec<StepRecord>,
}

/// A change of the topology, the data of a server-sent event `TopologyChanged`.
#[derive(ToSchema)]
pub struct TopologyChanged {
    /// The bus.
    pub bus: String,
    /// The roster's version that the topology now follows.
    pub version: u64,
    /// Groups whose listener was added.
    pub added: Vec<String>,
    /// Groups whose listener was removed.
    pub removed: Vec<String>,
}
