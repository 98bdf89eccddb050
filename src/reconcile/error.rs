//! Failures of a pass or of a request to the reconciler.

use crate::{
    broker::BrokerError,
    domain::{breaker::Blockage, deletion::QueueRefusal, plan::Violation},
    store::StoreError,
};

/// Reason why a pass ended early, or why a request to the reconciler was refused.
#[derive(Debug, thiserror::Error)]
pub enum PassError {
    /// Another node is making a pass.
    #[error("another node is reconciling")]
    Busy,
    /// The breaker blocks repair.
    #[error(transparent)]
    Blocked(#[from] Blockage),
    /// The broker failed.
    #[error("the broker could not be read or changed")]
    Broker(#[from] BrokerError),
    /// The database failed.
    #[error("the database could not be read or written")]
    Store(#[source] StoreError),
    /// The lease on passes expired during the pass.
    #[error(transparent)]
    LeaseLost(StoreError),
    /// The request about a queue is refused.
    #[error(transparent)]
    Refused(#[from] QueueRefusal),
    /// The plan breaks a rule that every plan keeps. This is a defect of hearken. The plan is not
    /// applied.
    #[error("hearken made a plan that breaks its own rules and did not apply it: {0}")]
    Defect(#[from] Violation),
    /// The node is stopping.
    #[error("this node is stopping")]
    Stopping,
}

impl From<StoreError> for PassError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost { .. } => Self::LeaseLost(error),
            _ => Self::Store(error),
        }
    }
}
