//! Settings that are the same on every node of a cluster.

use super::{
    event::Version,
    layout::QueueType,
    listener::SettingError,
    repair::RepairMode,
    retention::{DeadLetterQuota, HistoryLimit, Retention},
    span::Span,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, ops::RangeInclusive};
use time::OffsetDateTime;

/// Shortest and longest interval between two passes.
pub const RECONCILE_INTERVALS: RangeInclusive<Span> = Span::from_secs(1)..=Span::from_secs(86_400);

/// Lowest and highest age of a record that is removed. An hour at least, so that a wrong unit does
/// not empty a table.
pub const RECORD_AGES: RangeInclusive<Span> =
    Span::from_secs(3_600)..=Span::from_secs(36_500 * 86_400);

/// Settings of a cluster. The first node records its own; from then on the recorded settings are
/// those of every node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClusterSettings {
    /// First part of the name of every object on the broker. Never changes.
    pub prefix: String,
    /// Type of the work queues that are made from now on.
    pub queue_type: QueueType,
    /// Whether drift is repaired without a request.
    pub reconcile: RepairMode,
    /// Longest time between two passes.
    pub reconcile_interval: Span,
    /// Limits of the records.
    pub retention: Retention,
}

impl Default for ClusterSettings {
    fn default() -> Self {
        Self {
            prefix: "hearken".to_owned(),
            queue_type: QueueType::default(),
            reconcile: RepairMode::default(),
            reconcile_interval: Span::from_secs(30),
            retention: Retention::default(),
        }
    }
}

/// One setting of a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClusterSetting {
    /// The prefix of names on the broker.
    Prefix,
    /// The type of queues.
    QueueType,
    /// The repair of drift.
    Reconcile,
    /// The time between two passes.
    ReconcileInterval,
    /// The age of dead letters.
    DeadLetters,
    /// The dead letters of one group.
    DeadLetterQuota,
    /// The records of tasks.
    Tasks,
    /// The ids of commands.
    Commands,
    /// The records of passes.
    Passes,
}

impl ClusterSetting {
    /// Every setting.
    pub const ALL: [Self; 9] = [
        Self::Prefix,
        Self::QueueType,
        Self::Reconcile,
        Self::ReconcileInterval,
        Self::DeadLetters,
        Self::DeadLetterQuota,
        Self::Tasks,
        Self::Commands,
        Self::Passes,
    ];

    /// Name of the setting in the configuration of a node; its flag without dashes.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Prefix => "prefix",
            Self::QueueType => "queue-type",
            Self::Reconcile => "reconcile",
            Self::ReconcileInterval => "reconcile-interval",
            Self::DeadLetters => "retain-dead-letters",
            Self::DeadLetterQuota => "dead-letter-quota",
            Self::Tasks => "retain-tasks",
            Self::Commands => "retain-commands",
            Self::Passes => "retain-passes",
        }
    }

    fn differs(self, one: &ClusterSettings, other: &ClusterSettings) -> bool {
        let (kept, others) = (&one.retention, &other.retention);
        match self {
            Self::Prefix => one.prefix != other.prefix,
            Self::QueueType => one.queue_type != other.queue_type,
            Self::Reconcile => one.reconcile != other.reconcile,
            Self::ReconcileInterval => one.reconcile_interval != other.reconcile_interval,
            Self::DeadLetters => kept.dead_letters != others.dead_letters,
            Self::DeadLetterQuota => kept.dead_letter_quota != others.dead_letter_quota,
            Self::Tasks => kept.tasks != others.tasks,
            Self::Commands => kept.commands != others.commands,
            Self::Passes => kept.passes != others.passes,
        }
    }
}

/// Settings of a cluster, as the configuration of one node has them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeSettings {
    /// Value of every setting: of the configuration, or the default.
    pub values: ClusterSettings,
    /// Settings that the configuration gives a value. A default asks for nothing.
    pub given: BTreeSet<ClusterSetting>,
}

impl NodeSettings {
    /// Settings for which the configuration gives another value than the cluster has.
    pub fn differing(&self, cluster: &ClusterSettings) -> impl Iterator<Item = ClusterSetting> {
        self.values.differences(cluster).filter(|setting| self.given.contains(setting))
    }
}

/// Change of the settings of a cluster. An absent setting stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClusterChange {
    /// The prefix; only the present one is accepted.
    pub prefix: Option<String>,
    /// Type of the work queues that are made after the change.
    pub queue_type: Option<QueueType>,
    /// Whether drift is repaired without a request.
    pub reconcile: Option<RepairMode>,
    /// Longest time between two passes.
    pub reconcile_interval: Option<Span>,
    /// Age of dead letters.
    pub dead_letters: Option<Span>,
    /// Limit of the dead letters of one group.
    pub dead_letter_quota: Option<DeadLetterQuota>,
    /// Limits of ended tasks.
    pub tasks: Option<HistoryLimit>,
    /// Limits of the ids of commands.
    pub commands: Option<HistoryLimit>,
    /// Limits of the records of passes.
    pub passes: Option<HistoryLimit>,
}

impl ClusterChange {
    /// Checks the values against their ranges.
    ///
    /// # Errors
    /// The first setting that is outside its range, with the allowed values.
    pub fn check(&self) -> Result<(), SettingError> {
        let interval = self.reconcile_interval.iter();
        let interval = interval.map(|span| ("reconcileInterval", *span, &RECONCILE_INTERVALS));
        let ages = [
            ("retention.deadLetters", self.dead_letters),
            ("retention.tasks.age", self.tasks.map(|limit| limit.age)),
            ("retention.commands.age", self.commands.map(|limit| limit.age)),
            ("retention.passes.age", self.passes.map(|limit| limit.age)),
        ];
        let ages = ages.into_iter().filter_map(|(field, age)| Some((field, age?, &RECORD_AGES)));
        for (field, span, range) in interval.chain(ages) {
            if !range.contains(&span) {
                let allowed = match field {
                    "reconcileInterval" => "between 1s and 1d",
                    _ => "between 1h and 36500d",
                };
                return Err(SettingError { field, found: span.to_string(), allowed });
            }
        }
        match self.dead_letter_quota {
            Some(DeadLetterQuota { entries: 0, .. } | DeadLetterQuota { bytes: 0, .. }) => {
                Err(SettingError {
                    field: "retention.deadLetterQuota",
                    found: "0".to_owned(),
                    allowed: "at least one entry and one byte",
                })
            }
            _ => Ok(()),
        }
    }
}

impl ClusterSettings {
    /// The settings after a change, whose prefix is left out: the prefix never changes.
    #[must_use]
    pub fn changed(&self, change: &ClusterChange) -> Self {
        let now = &self.retention;
        Self {
            prefix: self.prefix.clone(),
            queue_type: change.queue_type.unwrap_or(self.queue_type),
            reconcile: change.reconcile.unwrap_or(self.reconcile),
            reconcile_interval: change.reconcile_interval.unwrap_or(self.reconcile_interval),
            retention: Retention {
                dead_letters: change.dead_letters.unwrap_or(now.dead_letters),
                dead_letter_quota: change.dead_letter_quota.unwrap_or(now.dead_letter_quota),
                tasks: change.tasks.unwrap_or(now.tasks),
                commands: change.commands.unwrap_or(now.commands),
                passes: change.passes.unwrap_or(now.passes),
            },
        }
    }

    /// Settings that have another value in `other`.
    pub fn differences(&self, other: &Self) -> impl Iterator<Item = ClusterSetting> {
        ClusterSetting::ALL.into_iter().filter(|setting| setting.differs(self, other))
    }
}

/// The settings of a cluster, with the audit of their last change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedSettings {
    /// The settings.
    pub settings: ClusterSettings,
    /// Version that changed the settings; 0 for the settings of the first node.
    pub version: Version,
    /// Time of the change, by the database's clock.
    pub at: OffsetDateTime,
    /// Author of the change; `node:<id>` for the settings of the first node.
    pub by: String,
    /// Reason that the author gave.
    pub reason: Option<String>,
}

impl Default for RecordedSettings {
    /// The default settings, recorded by no node.
    fn default() -> Self {
        Self {
            settings: ClusterSettings::default(),
            version: 0,
            at: OffsetDateTime::UNIX_EPOCH,
            by: String::new(),
            reason: None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_leaves_absent_settings_as_they_are() {
        let before = ClusterSettings::default();
        assert_eq!(before.changed(&ClusterChange::default()), before);
        let limit = HistoryLimit { age: Span::from_secs(3_600), count: 5 };
        let change = ClusterChange {
            reconcile: Some(RepairMode::Manual),
            tasks: Some(limit),
            ..ClusterChange::default()
        };
        let after = before.changed(&change);
        let differences: Vec<_> = before.differences(&after).map(ClusterSetting::name).collect();
        assert_eq!(differences, ["reconcile", "retain-tasks"]);
        assert_eq!((after.reconcile, after.retention.tasks), (RepairMode::Manual, limit));
    }

    #[test]
    fn a_node_differs_only_in_settings_that_its_configuration_gives() {
        let cluster = ClusterSettings { queue_type: QueueType::Classic, ..Default::default() };
        let mut node = NodeSettings::default();
        assert_eq!(node.differing(&cluster).next(), None);
        node.given.extend([ClusterSetting::QueueType, ClusterSetting::Prefix]);
        assert_eq!(node.differing(&cluster).collect::<Vec<_>>(), [ClusterSetting::QueueType]);
    }

    #[test]
    fn a_value_outside_its_range_is_refused_with_its_field() {
        let limit = HistoryLimit { age: Span::from_secs(3_599), count: 1 };
        let quota = DeadLetterQuota { entries: 1, bytes: 0 };
        let none = ClusterChange::default;
        for (change, field) in [
            (
                ClusterChange { reconcile_interval: Some(Span::from_millis(999)), ..none() },
                "reconcileInterval",
            ),
            (
                ClusterChange { dead_letters: Some(Span::from_secs(1)), ..none() },
                "retention.deadLetters",
            ),
            (ClusterChange { tasks: Some(limit), ..none() }, "retention.tasks.age"),
            (ClusterChange { commands: Some(limit), ..none() }, "retention.commands.age"),
            (ClusterChange { passes: Some(limit), ..none() }, "retention.passes.age"),
            (
                ClusterChange { dead_letter_quota: Some(quota), ..none() },
                "retention.deadLetterQuota",
            ),
        ] {
            assert_eq!(change.check().unwrap_err().field, field);
        }
        assert_eq!(none().check(), Ok(()));
    }
}
