//! The listeners that run on this node.
//!
//! The supervisor makes the running listeners equal to the roster, for the classes that the catalog
//! knows. The heartbeat tells the cluster the state of the node. A node that cannot run a listener
//! is *degraded*: it takes requests, runs all other listeners, and names the listener and the
//! cause. It becomes ready by itself when the cause is gone. (James ADR 35 asks for this and does
//! not say how.)

mod buses;
mod heartbeat;
mod making;
mod reports;
mod required;
mod supervisor;
mod worker;

pub use buses::add_buses;
pub use heartbeat::beat;
pub use reports::NodeReports;
pub use required::add_required;
pub use supervisor::Supervisor;

use crate::domain::{
    event::NodeRef,
    report::{ListenerStatus, NodeState},
};
use std::sync::Arc;
use tokio::sync::watch;

/// Phase of the node's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Some parts of the node are not up yet.
    Starting,
    /// All parts of the node are up.
    Running,
    /// The node stops.
    Stopping,
}

/// State of this node. Cheap to clone.
#[derive(Clone)]
pub struct ThisNode {
    node: NodeRef,
    phase: Arc<watch::Sender<Phase>>,
    listeners: Arc<watch::Sender<Vec<ListenerStatus>>>,
    /// Whether a heartbeat of this process was written, so that the id of the node is its own.
    owns_id: Arc<watch::Sender<bool>>,
}

impl ThisNode {
    /// State of a node that is starting and runs no listener.
    #[must_use]
    pub fn new(node: NodeRef) -> Self {
        let phase = Arc::new(watch::Sender::new(Phase::Starting));
        let listeners = Arc::new(watch::Sender::new(Vec::new()));
        Self { node, phase, listeners, owns_id: Arc::new(watch::Sender::new(false)) }
    }

    /// The node's signature under its actions.
    #[must_use]
    pub fn node_ref(&self) -> &NodeRef {
        &self.node
    }

    /// The listeners of the node with their current states.
    #[must_use]
    pub fn listeners(&self) -> Vec<ListenerStatus> {
        self.listeners.borrow().clone()
    }

    /// State of the node, in one word.
    #[must_use]
    pub fn state(&self) -> NodeState {
        let is_impaired = |status: &ListenerStatus| status.state.is_impaired();
        match *self.phase.borrow() {
            Phase::Starting => NodeState::Starting,
            Phase::Stopping => NodeState::Stopping,
            Phase::Running if self.listeners.borrow().iter().any(is_impaired) => {
                NodeState::Degraded
            }
            Phase::Running => NodeState::Ready,
        }
    }

    /// Notes that a heartbeat of this process was written.
    fn own_id(&self) {
        self.owns_id.send_if_modified(|owns| !std::mem::replace(owns, true));
    }

    /// Waits until no other process uses the id of this node.
    pub async fn id_owned(&self) {
        // Never fails: this node holds the sender.
        let _ = self.owns_id.subscribe().wait_for(|owns| *owns).await;
    }

    /// Notes that all parts of the node are up. A node that was told to stop before stays stopping.
    pub fn started(&self) {
        self.phase.send_if_modified(|phase| {
            let starting = *phase == Phase::Starting;
            if starting {
                *phase = Phase::Running;
            }
            starting
        });
    }

    /// Notes that the node stops.
    pub fn stopping(&self) {
        self.phase.send_replace(Phase::Stopping);
    }
}
