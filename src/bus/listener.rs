//! The listener of a group.

use super::{
    event::Event,
    execution::{Execution, Failure},
};
use async_trait::async_trait;

/// A running listener, which is called with each event of its bus.
///
/// # Guarantees
/// With `delivery = once`, the listener runs every event that was published while it was
/// configured, at least once, in no particular order, up to `concurrency` events at a time on one
/// node.
///
/// # Repeated events
/// The listener is called again with the same event after a failure, a timeout, or the loss of a
/// node.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    /// Runs one event.
    ///
    /// # Errors
    /// A [`Failure`] says whether the event runs again or becomes a dead letter.
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure>;
}
