//! The lock under which the broker is changed.

use super::error::PassError;
use crate::{
    domain::plan::{Action, Step},
    store::{HeldLock, Lock, Store},
};

/// Right to change the broker, which one node of the cluster has at a time. Ends when dropped.
pub(super) struct PassLock(HeldLock);

impl PassLock {
    /// Takes the lock, or fails with [`PassError::Busy`] while another node holds it.
    pub(super) async fn take(store: &Store) -> Result<Self, PassError> {
        let held = store.try_lock(Lock::Passes).await?;
        held.map(Self).ok_or(PassError::Busy)
    }

    /// Refuses steps that take something away when another node holds the lock by now: this node
    /// was paused, and its plan is old. Declaring and binding twice does no harm.
    pub(super) async fn check_before(&mut self, steps: &[Step]) -> Result<(), PassError> {
        let takes_away =
            |step: &Step| matches!(step.action, Action::Unbind(_) | Action::DeleteQueue(_));
        if steps.iter().any(takes_away) && !self.0.still_held().await {
            return Err(PassError::Busy);
        }
        Ok(())
    }
}
