//! What an administrator may ask of the roster.

use super::{listener::ListenerSpec, name::GroupName};
use serde::{Deserialize, Serialize};

/// What becomes of the events that wait for a removed listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pending {
    /// The queue is unbound and kept with its content; adding the group again consumes it (ADR 26).
    #[default]
    Keep,
    /// The queue is unbound, consumed until it is empty, then deleted.
    Drain,
    /// The queue is unbound and deleted with its content.
    Discard,
}

/// A change somebody asks for. There is no update: remove, then add (ADR 35).
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Configures a listener.
    AddListener(ListenerSpec),
    /// Unconfigures one.
    RemoveListener {
        /// Which.
        group: GroupName,
        /// What becomes of its waiting events.
        pending: Pending,
    },
    /// Gives a listener a new queue and drains the old one: a removal and an addition in one
    /// step, so that no event falls between them.
    MigrateListener {
        /// Which.
        group: GroupName,
    },
}

impl Command {
    /// The group the command is about.
    #[must_use]
    pub fn group(&self) -> &GroupName {
        match self {
            Self::AddListener(listener) => &listener.group,
            Self::RemoveListener { group, .. } | Self::MigrateListener { group } => group,
        }
    }
}
