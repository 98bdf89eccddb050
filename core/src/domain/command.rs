//! Commands to the roster.

use super::{
    bus::BusDefinition,
    cluster::ClusterChange,
    listener::ListenerSpec,
    name::{BusName, GroupName},
    roster::{OrphanQueue, QueueId},
};
use serde::{Deserialize, Serialize};

/// Treatment of the events that wait for a removed listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pending {
    /// The queue is unbound and kept with its events. When the group is added again, the listener
    /// consumes them (James ADR 26).
    #[default]
    Keep,
    /// The queue is unbound, consumed until it is empty, then deleted.
    Drain,
    /// The queue is unbound and deleted with its events.
    Discard,
}

/// A change of the roster that an administrator or a node asks for.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Configures a listener.
    AddListener(ListenerSpec),
    /// Gives the listener of the group new settings. Its queue and its bindings stay, so that no
    /// event is missed. Bus and delivery cannot change.
    ChangeListener(ListenerSpec),
    /// Stops every node from consuming for a listener. Its queue stays bound and holds the events.
    PauseListener {
        /// The listener's group.
        group: GroupName,
    },
    /// Ends the pause of a listener.
    ResumeListener {
        /// The listener's group.
        group: GroupName,
    },
    /// Removes a listener.
    RemoveListener {
        /// The listener's group.
        group: GroupName,
        /// Treatment of its waiting events.
        pending: Pending,
    },
    /// Gives a listener a new queue and drains the old queue. This is a removal and an addition in
    /// one step, so that no event is lost between them.
    MigrateListener {
        /// The queue that the listener leaves.
        queue: QueueId,
    },
    /// Adds a bus, which every node takes up without a restart.
    AddBus(BusDefinition),
    /// Gives a bus a new definition. Its exchange cannot change.
    ChangeBus(BusDefinition),
    /// Removes a bus that no listener and no queue uses. A pass deletes its exchanges and its empty
    /// queues.
    RemoveBus(BusName),
    /// Changes settings of the cluster, which every node follows without a restart.
    ChangeCluster(ClusterChange),
    /// Lets an orphan go: its queue is unbound and deleted with the events in it.
    ReleaseQueue {
        /// The orphan.
        queue: OrphanQueue,
    },
}

impl Command {
    /// Name of the group or the bus that the command is about; `cluster` for its settings.
    #[must_use]
    pub fn subject(&self) -> &str {
        match self {
            Self::AddBus(bus) | Self::ChangeBus(bus) => bus.name.as_str(),
            Self::RemoveBus(bus) => bus.as_str(),
            Self::ChangeCluster(_) => "cluster",
            Self::AddListener(listener) | Self::ChangeListener(listener) => listener.group.as_str(),
            Self::PauseListener { group }
            | Self::ResumeListener { group }
            | Self::RemoveListener { group, .. } => group.as_str(),
            Self::MigrateListener { queue } => queue.group.as_str(),
            Self::ReleaseQueue { queue } => queue.id.group.as_str(),
        }
    }
}
