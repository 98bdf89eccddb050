//! What runs an event of a group.

use super::{
    event::Event,
    execution::{Execution, Failure},
};
use async_trait::async_trait;

/// A running listener: called with each event of its bus.
///
/// # Guarantees
/// With `delivery = once`, every event that was published while the listener was configured is
/// handed over at least once, in no particular order, up to `concurrency` at a time on one node.
///
/// # What an implementation must allow for
/// The same event is handed over again after a failure, a timeout, or the loss of a node.
#[async_trait]
pub trait Listener: Send + Sync + 'static {
    /// Runs one event.
    ///
    /// # Errors
    /// A [`Failure`] says whether the event runs again or becomes a dead letter.
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure>;
}
