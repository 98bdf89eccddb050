//! Settings of the cluster.

use utoipa::ToSchema;

/// Type of the queues that hold events.
#[derive(ToSchema)]
#[schema(as = QueueType, rename_all = "lowercase")]
pub enum QueueTypeSchema {
    /// Replicated on several broker nodes.
    Quorum,
    /// Stored on one broker node.
    Classic,
}

/// Whether drift is repaired without a request.
#[derive(ToSchema)]
#[schema(as = RepairMode, rename_all = "lowercase")]
pub enum RepairModeSchema {
    /// Every drift is repaired whose repair loses nothing.
    Auto,
    /// Changes of the roster are made; drift is only reported.
    Manual,
}

/// Age and number beyond which records are removed, the oldest first.
#[derive(ToSchema)]
#[schema(as = HistoryLimit)]
pub struct HistoryLimitSchema {
    /// Age at which a record is removed, from `1h` to `36500d`.
    #[schema(example = "30d")]
    pub age: String,
    /// Number of the newest records that are kept.
    pub count: u64,
}

/// Limit at which a group keeps no further dead letter.
#[derive(ToSchema)]
#[schema(as = DeadLetterQuota)]
pub struct DeadLetterQuotaSchema {
    /// Number of entries.
    #[schema(minimum = 1)]
    pub entries: u64,
    /// Bytes of the events of the entries.
    #[schema(minimum = 1)]
    pub bytes: u64,
}

/// Limits of the records of the cluster.
#[derive(ToSchema)]
#[schema(as = Retention, rename_all = "camelCase")]
pub struct RetentionSchema {
    /// Age at which a dead letter is removed, from `1h` to `36500d`.
    #[schema(example = "30d")]
    pub dead_letters: String,
    /// Limit of the dead letters of each group.
    pub dead_letter_quota: DeadLetterQuotaSchema,
    /// Limits of ended tasks.
    pub tasks: HistoryLimitSchema,
    /// Limits of the ids of commands, by which a repeated command is recognised.
    pub commands: HistoryLimitSchema,
    /// Limits of the records of passes.
    pub passes: HistoryLimitSchema,
}

/// Settings that are the same on every node of the cluster.
#[derive(ToSchema)]
#[schema(as = ClusterSettings, rename_all = "camelCase")]
pub struct ClusterSettingsSchema {
    /// First part of the name of every object on the broker.
    pub prefix: String,
    /// Type of the work queues that are made from now on.
    pub queue_type: QueueTypeSchema,
    /// Whether drift is repaired without a request.
    pub reconcile: RepairModeSchema,
    /// Longest time between two passes.
    #[schema(example = "30s")]
    pub reconcile_interval: String,
    /// Limits of the records of the cluster.
    pub retention: RetentionSchema,
}
