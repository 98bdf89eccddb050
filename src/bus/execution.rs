//! One execution of a listener: what the listener is told of it, and how it can fail.

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
    /// When the event was published, or put back for this group. Absent where the bus does not
    /// know.
    pub published_at: Option<OffsetDateTime>,
    /// When the event failed for this group for the first time. Absent where it never failed.
    pub first_failed_at: Option<OffsetDateTime>,
    /// Monotonic time at which the execution fails: its beginning plus the listener's `timeout`.
    pub deadline: Instant,
    /// Cancelled when the listener or the node stops and its patience is over. The execution's
    /// future is dropped then; tasks that it spawned should end too.
    pub cancelled: CancellationToken,
}

impl Execution {
    /// An execution that begins at `now`, a monotonic time.
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

/// Why an execution failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Failure {
    /// The event may succeed later. It runs again after the listener's own pause, as many times as
    /// the listener's `retry` allows, and is then kept as a dead letter.
    #[error("{0}")]
    Transient(String),
    /// As [`Failure::Transient`], but not before a pause that the other side asked for
    /// (`Retry-After`).
    #[error("{cause}")]
    RetryAfter {
        /// Why the execution failed.
        cause: String,
        /// The shortest pause before the next execution.
        pause: Duration,
    },
    /// The event never succeeds. It becomes a dead letter at once.
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
