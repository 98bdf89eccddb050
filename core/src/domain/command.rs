//! Commands to the roster.

use super::{listener::ListenerSpec, name::GroupName};
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

/// A change of the roster that an administrator or a node asks for. No command updates a listener:
/// it is removed, then added (James ADR 35).
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Configures a listener.
    AddListener(ListenerSpec),
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
        /// The listener's group.
        group: GroupName,
    },
}

impl Command {
    /// The group that the command is about.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        match self {
            Self::AddListener(listener) => &listener.group,
            Self::RemoveListener { group, .. } | Self::MigrateListener { group } => group,
        }
    }
}
