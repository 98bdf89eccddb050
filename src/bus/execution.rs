//! One execution of a listener: the facts that the listener gets, and the ways in which it fails.

use crate::domain::{
    listener::ListenerSpec,
    name::{BusName, GroupName},
};
use std::time::{Duration, Instant};
use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;

/// Facts about the execution that a listener is called for.
#[derive(Debug, Clone)]
pub struct Execution {
    /// The group of the listener.
    pub group: GroupName,
    /// The bus of the event.
    pub bus: BusName,
    /// 0 for the first execution, then the number of the retry.
    pub attempt: u32,
    /// When the event was published, or redelivered to this group. Absent if the bus does not know.
    pub published_at: Option<OffsetDateTime>,
    /// When the event failed for this group for the first time. Absent if it has not failed.
    pub first_failed_at: Option<OffsetDateTime>,
    /// Monotonic time at which the execution fails: its beginning plus the listener's `timeout`.
    pub deadline: Instant,
    /// Cancelled when the listener or the node stops and no longer waits for the execution. The
    /// future of the execution is dropped then; tasks that the execution spawned should end too.
    pub cancelled: CancellationToken,
}

impl Execution {
    /// An execution that begins at the monotonic time `now`.
    #[must_use]
    pub fn begin(listener: &ListenerSpec, attempt: u32, now: Instant) -> Self {
        Self {
            group: listener.group.clone(),
            bus: listener.bus.clone(),
            attempt,
            published_at: None,
            first_failed_at: None,
            deadline: now + listener.timeout.duration(),
            cancelled: CancellationToken::new(),
        }
    }
}

/// Cause of a failed execution.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The event may succeed later. It runs again after the pauses of the listener's `retry`, as
    /// often as `retry` allows. Then it is kept as a dead letter.
    #[error("{0}")]
    Transient(String),
    /// As [`Failure::Transient`], with a shortest pause that the other side asked for
    /// (`Retry-After`).
    #[error("{cause}")]
    RetryAfter {
        /// Cause of the failure.
        cause: String,
        /// The shortest pause before the next execution.
        pause: Duration,
    },
    /// The event can never succeed. It becomes a dead letter at once.
    #[error("{0}")]
    Permanent(String),
}

impl Failure {
    /// A failure after which the event runs again, after the listener's own pause.
    pub fn new(cause: impl Into<String>) -> Self {
        Self::Transient(cause.into())
    }

    /// A failure that another execution cannot change.
    pub fn permanent(cause: impl Into<String>) -> Self {
        Self::Permanent(cause.into())
    }
}
