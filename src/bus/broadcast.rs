//! Broadcasts between nodes.

use crate::domain::name::{BusName, GroupName};
use serde::{Deserialize, Serialize};

/// Broadcast that the topology of a bus changed. It is a hint: a node that misses it learns of the
/// change from its tail or its timer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopologyChanged {
    /// The bus.
    pub bus: BusName,
    /// The roster's version that the topology now matches.
    pub version: u64,
    /// Groups whose listener was added since the last broadcast.
    pub added: Vec<GroupName>,
    /// Groups whose listener was removed since the last broadcast.
    pub removed: Vec<GroupName>,
}
