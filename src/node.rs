//! What runs here.
//!
//! The supervisor makes the running listeners equal to the roster, as far as the catalog knows
//! their classes; the heartbeat tells the cluster. A node that cannot run some listener is
//! *degraded*: it serves REST, runs everything else, says which listener and why, and becomes
//! ready by itself when the cause is gone (James ADR 35 wanted this and never said how).

mod heartbeat;
mod required;
mod supervisor;
mod worker;

pub use heartbeat::beat;
pub use required::add_required;
pub use supervisor::Supervisor;

use crate::domain::{
    event::NodeRef,
    report::{ListenerState, ListenerStatus, NodeState},
};
use std::sync::Arc;
use tokio::sync::watch;

/// The phases of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Not everything is up.
    Starting,
    /// Everything that can run does.
    Running,
    /// On its way out.
    Stopping,
}

/// What this node says of itself. Cheap to clone.
#[derive(Clone)]
pub struct ThisNode {
    node: NodeRef,
    phase: Arc<watch::Sender<Phase>>,
    listeners: Arc<watch::Sender<Vec<ListenerStatus>>>,
}

impl ThisNode {
    /// A node that is starting and runs nothing.
    #[must_use]
    pub fn new(node: NodeRef) -> Self {
        let phase = Arc::new(watch::Sender::new(Phase::Starting));
        Self { node, phase, listeners: Arc::new(watch::Sender::new(Vec::new())) }
    }

    /// The node, as it signs what it does.
    #[must_use]
    pub fn node_ref(&self) -> &NodeRef {
        &self.node
    }

    /// Its listeners, as they are now.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerStatus> {
        self.listeners.borrow().clone()
    }

    /// In a word.
    #[must_use]
    pub fn state(&self) -> NodeState {
        let cannot = |status: &ListenerStatus| {
            matches!(status.state, ListenerState::UnknownClass | ListenerState::Failed)
        };
        match *self.phase.borrow() {
            Phase::Starting => NodeState::Starting,
            Phase::Stopping => NodeState::Stopping,
            Phase::Running if self.listeners.borrow().iter().any(cannot) => NodeState::Degraded,
            Phase::Running => NodeState::Ready,
        }
    }

    /// Everything that can run does. A node that is told to stop before that stays stopping.
    pub fn started(&self) {
        self.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                *phase = Phase::Running;
            }
            starting
        });
    }

    /// The node is on its way out.
    pub fn stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
    }
}
