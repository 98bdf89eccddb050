//! Which returning events are dropped instead of kept.

use crate::domain::name::GroupName;
use async_trait::async_trait;

/// Tells whether the events of a group are dropped when they come back for the group and the group
/// has no queue.
#[async_trait]
pub trait DiscardRule: Send + Sync + 'static {
    /// Whether the group's events are dropped. Decides from the newest roster, because a dropped
    /// event cannot be restored.
    async fn discards(&self, group: &GroupName) -> bool;
}

/// The rule without a roster: every returning event is kept.
#[derive(Debug, Clone, Copy, Default)]
pub struct DiscardNothing;

#[async_trait]
impl DiscardRule for DiscardNothing {
    async fn discards(&self, _group: &GroupName) -> bool {
        false
    }
}
