//! What an administrator asks of the reconciler.

use super::error::PassError;
use crate::domain::{deletion::QueueContents, repair::Occasion, report::StepRecord};
use tokio::sync::oneshot;

/// Way back to the caller that waits for a request.
pub(super) type Reply<T> = oneshot::Sender<Result<T, PassError>>;

/// Request of an administrator.
pub(super) enum ReconcileRequest {
    /// Make a pass now. The answer has the steps of the pass.
    Pass {
        /// Reason for the pass.
        occasion: Occasion,
        /// Way back to the caller.
        reply: Reply<Vec<StepRecord>>,
    },
    /// Delete a queue. The answer is the number of events that the broker destroyed.
    DeleteQueue {
        /// Name of the queue.
        queue: String,
        /// Treatment of the events in the queue.
        contents: QueueContents,
        /// Way back to the caller.
        reply: Reply<u64>,
    },
}
