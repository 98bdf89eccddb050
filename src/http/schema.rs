//! Shapes of the records of lower modules, for the contract document.
//!
//! The types of the domain write themselves as JSON and do not depend on a crate for API documents,
//! so their shapes are described here. Each type ends in `Schema`; in the document it has the name
//! of the domain's type. The contract test holds every answer of a running server against these
//! descriptions and reports a member that is missing on either side.

mod cluster;
mod health;
mod parameters;
mod passes;
mod roster;
mod topology;

pub use cluster::{
    ClusterSettingsSchema, DeadLetterQuotaSchema, HistoryLimitSchema, QueueTypeSchema,
    RepairModeSchema, RetentionSchema,
};
pub use health::GradeSchema;
pub use parameters::{CommandHeaderParams, DeadLetterFilterParams, PageLimitParams, WaitParams};
pub use passes::{
    PassSchema, StepClassSchema, StepOutcomeSchema, StepRecordSchema, StepSchema,
    TopologyChangedSchema,
};
pub use roster::{
    BusDefinitionSchema, ClassSourceSchema, CodecSchema, ConditionReasonSchema, ConditionSchema,
    ConditionStatusSchema, ConditionTypeSchema, DeliverySchema, ListenerSpecSchema,
    ListenerStateSchema, ListenerStatusSchema, LogAdoptionSchema, LogIdentitySchema, ModeSchema,
    NodeRefSchema, NodeSchema, NodeStateSchema, PendingSchema, RetrySchema,
};
pub use topology::{
    ArgumentSchema, BindingSchema, DestinationSchema, DriftKindSchema, DriftObjectSchema,
    DriftSchema, ExchangeSchema, ObjectKindSchema, PassFailureSchema, PolicySchema,
    QueueKindSchema, QueueRemedySchema, QueueSchema, RemedySchema, TopologyStateSchema,
};
