//! What is repaired without asking.

use serde::{Deserialize, Serialize};

/// Whether the reconciler repairs drift by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RepairMode {
    /// The reconciler repairs every drift whose repair loses nothing.
    #[default]
    Auto,
    /// The reconciler applies changes of the roster, which an administrator asked for, and only
    /// reports drift.
    Manual,
}
