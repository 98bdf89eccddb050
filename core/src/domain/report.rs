//! Records of the state of nodes, listeners, the topology, passes and tasks.
//!
//! One node stores a record, and every node shows it to administrators.

mod node;
mod pass;
mod task;
mod topology;

pub use node::{ListenerState, ListenerStatus, NodeState, NodeStatus};
pub use pass::{PassRecord, PassState, StepOutcome, StepRecord, StepReport};
pub use task::{Task, TaskState};
pub use topology::{DriftReport, PassFailure, TopologyState, TopologyStatus};
