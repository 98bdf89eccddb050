//! Facts that the conditions of listeners are computed from.

use super::{Condition, ConditionReason, ConditionStatus, ConditionType};
use crate::domain::{
    drift::{DriftKind, ObjectKind, Remedy},
    layout::{Layout, ObjectName},
    name::GroupName,
    report::{DriftReport, ListenerStatus, NodeState, NodeStatus, TopologyState, TopologyStatus},
    roster::{Configured, QueueId, Roster},
};
use std::collections::HashMap;

/// Facts about all listeners of a roster, indexed so that the conditions of many listeners are
/// cheap.
pub struct ListenerEvidence<'a> {
    layout: &'a Layout,
    roster: &'a Roster,
    status: &'a TopologyStatus,
    /// Drift of queues and bindings, by the name of the queue.
    drift: HashMap<&'a str, Vec<&'a DriftReport>>,
    /// Orphan queues, by group.
    orphans: HashMap<GroupName, Vec<&'a DriftReport>>,
    /// Reports of the nodes that are up, by group.
    reports: HashMap<&'a GroupName, Vec<NodeReport<'a>>>,
}

/// State of a listener on one node.
struct NodeReport<'a> {
    node: &'a str,
    listener: &'a ListenerStatus,
}

impl<'a> ListenerEvidence<'a> {
    /// Facts from the roster, the status of the last pass, and the reports of all nodes.
    #[must_use]
    pub fn new(
        layout: &'a Layout,
        roster: &'a Roster,
        status: &'a TopologyStatus,
        nodes: &'a [NodeStatus],
    ) -> Self {
        let mut drift: HashMap<&str, Vec<&DriftReport>> = HashMap::new();
        let mut orphans: HashMap<GroupName, Vec<&DriftReport>> = HashMap::new();
        for report in &status.drift {
            for name in report.names() {
                drift.entry(name).or_default().push(report);
            }
            if report.kind == DriftKind::Orphan
                && let Some(ObjectName::Work { queue, .. }) = layout.read(&report.name)
            {
                orphans.entry(queue.group).or_default().push(report);
            }
        }
        let mut reports: HashMap<&GroupName, Vec<NodeReport<'_>>> = HashMap::new();
        for node in nodes.iter().filter(|node| node.state != NodeState::Gone) {
            for listener in &node.listeners {
                let report = NodeReport { node: &node.id, listener };
                reports.entry(&listener.group).or_default().push(report);
            }
        }
        Self { layout, roster, status, drift, orphans, reports }
    }

    /// Conditions of a listener: `Ready` always, and every other condition that holds.
    #[must_use]
    pub fn conditions(&self, configured: &Configured) -> Vec<Condition> {
        let blocked = self.blocked(configured);
        let applying = if blocked.is_none() { self.applying(configured) } else { None };
        let paused = configured.pause.as_ref().map(|pause| {
            let message = format!("{} paused the listener; its queue holds the events", pause.by);
            Condition::holds(ConditionType::Paused, ConditionReason::Paused, message)
                .at(pause.at, pause.version)
        });
        let hindrance = paused.as_ref().or(blocked.as_ref()).or(applying.as_ref());
        let ready = match hindrance {
            Some(hindrance) => unready(hindrance),
            None => self.consumption(configured),
        };
        let mut conditions = vec![ready];
        conditions.extend(applying);
        conditions.extend(blocked);
        conditions.extend(paused);
        conditions.extend(self.draining(configured));
        conditions.extend(self.orphan(configured));
        conditions
    }

    /// Whether the broker was seen to have everything that a listener needs, as
    /// [`TopologyStatus::has_listener`] tells.
    #[must_use]
    pub fn has_topology(&self, configured: &Configured) -> bool {
        self.is_compared(configured) && self.wrong(configured).is_empty()
    }

    /// Drift that makes the topology of a listener wrong.
    fn wrong(&self, configured: &Configured) -> Vec<&'a DriftReport> {
        let queues = configured.queues(self.layout);
        let drift = queues.iter().filter_map(|queue| self.drift.get(queue.as_str())).flatten();
        drift.copied().filter(|drift| drift.is_wrong()).collect()
    }

    fn is_compared(&self, configured: &Configured) -> bool {
        self.status.reconciled_version >= configured.version
    }

    fn applying(&self, configured: &Configured) -> Option<Condition> {
        let version = configured.version;
        if !self.is_compared(configured) {
            let message = format!(
                "no pass has compared the broker with version {version} yet; the last pass compared version {}",
                self.status.reconciled_version
            );
            let condition =
                Condition::holds(ConditionType::Applying, ConditionReason::NotCompared, message);
            return Some(condition.at(configured.version_at, version));
        }
        let wrong = self.wrong(configured);
        let since = wrong.iter().map(|drift| drift.since).min()?;
        let names: Vec<_> = wrong.iter().map(|drift| drift.name.as_str()).collect();
        let message = format!("hearken repairs by itself: {}", names.join(", "));
        let condition =
            Condition::holds(ConditionType::Applying, ConditionReason::Differs, message);
        Some(condition.at(since, version))
    }

    fn blocked(&self, configured: &Configured) -> Option<Condition> {
        let wrong = self.wrong(configured);
        let version = configured.version;
        let blocked = |reason, message| Condition::holds(ConditionType::Blocked, reason, message);
        if let Some((drift, refusal)) =
            wrong.iter().find_map(|drift| Some((drift, drift.refusal.as_ref()?)))
        {
            let message = format!("{}: {refusal}", drift.name);
            return Some(blocked(ConditionReason::Refused, message).at(drift.since, version));
        }
        let undecided =
            |drift: &&&DriftReport| matches!(drift.remedy, Remedy::Migrate | Remedy::Report);
        if let Some(drift) = wrong.iter().find(undecided) {
            let message = format!(
                "{} differs from what the roster asks for, and hearken does not change it without an operator's decision; hearken topology show tells the difference",
                drift.name
            );
            return Some(blocked(ConditionReason::NeedsDecision, message).at(drift.since, version));
        }
        let is_stopped =
            matches!(self.status.state, TopologyState::Blocked | TopologyState::Unknown);
        let failure = self.status.failure.as_ref().filter(|_| is_stopped)?;
        if self.has_topology(configured) {
            return None;
        }
        let message = failure.cause.clone();
        Some(blocked(ConditionReason::PassFailed, message).at(failure.since, version))
    }

    /// `Ready` of a listener whose objects the broker was seen to have.
    fn consumption(&self, configured: &Configured) -> Condition {
        let version = configured.version;
        let ready = |reason, message| Condition::holds(ConditionType::Ready, reason, message);
        if let (TopologyState::Unknown, Some(failure)) = (self.status.state, &self.status.failure) {
            let condition = ready(ConditionReason::PassFailed, failure.cause.clone());
            let condition = Condition { status: ConditionStatus::Unknown, ..condition };
            return condition.at(failure.since, version);
        }
        let reports = self.reports.get(&configured.listener.group);
        let reports = reports.map(Vec::as_slice).unwrap_or_default();
        let consuming = reports.iter().filter(|report| report.listener.state.consumes());
        if let Some(since) = consuming.clone().map(|report| report.listener.since).min() {
            let (nodes, up) = (consuming.count(), reports.len());
            let message = format!("{nodes} of {up} nodes consume");
            let since = since.max(configured.version_at);
            return ready(ConditionReason::Consuming, message).at(since, version);
        }
        let impaired = reports.iter().find(|report| report.listener.state.is_impaired());
        let (reason, message, since) = match impaired.or(reports.first()) {
            None => {
                let message = "no node that is up has the listener".to_owned();
                (ConditionReason::NoNode, message, configured.version_at)
            }
            Some(NodeReport { node, listener }) => {
                let cause = listener.cause.as_deref().unwrap_or("it starts the listener");
                let reason = match impaired {
                    Some(_) => ConditionReason::Impaired,
                    None => ConditionReason::Starting,
                };
                (reason, format!("node {node}: {cause}"), listener.since)
            }
        };
        let condition = ready(reason, message).at(since, version);
        Condition { status: ConditionStatus::False, ..condition }
    }

    /// The first earlier queue of the group that waits for its deletion.
    fn draining(&self, configured: &Configured) -> Option<Condition> {
        let group = &configured.listener.group;
        let [first, last] = [0, u32::MAX].map(|generation| QueueId::new(group.clone(), generation));
        self.roster.tombstones().range(first..=last).find_map(|(id, tombstone)| {
            let queue = self.layout.work(&tombstone.listener.bus, group, id.generation);
            let drift = self.drift.get(queue.as_str())?;
            let due = |drift: &&&DriftReport| {
                drift.object == ObjectKind::Queue && drift.remedy == Remedy::Delete
            };
            let drift = drift.iter().find(due)?;
            let message = format!("queue {queue} is deleted once its events may go");
            let condition =
                Condition::holds(ConditionType::Draining, ConditionReason::DeletionDue, message);
            Some(condition.at(drift.since, tombstone.version))
        })
    }

    /// The first queue of the group that the log does not know.
    fn orphan(&self, configured: &Configured) -> Option<Condition> {
        let drift = self.orphans.get(&configured.listener.group)?.first()?;
        let message = format!(
            "the log does not know queue {}; as long as it is there, hearken unbinds and deletes nothing",
            drift.name
        );
        let condition =
            Condition::holds(ConditionType::Orphan, ConditionReason::UnknownToLog, message);
        Some(condition.at(drift.since, self.status.reconciled_version))
    }
}

/// `Ready` that another condition prevents.
fn unready(hindrance: &Condition) -> Condition {
    let reason = match hindrance.kind {
        ConditionType::Paused => ConditionReason::Paused,
        ConditionType::Blocked => ConditionReason::Blocked,
        _ => ConditionReason::Applying,
    };
    let (kind, status) = (ConditionType::Ready, ConditionStatus::False);
    Condition { kind, status, reason, ..hindrance.clone() }
}
