//! The shapes of the domain's records, for the document.
//!
//! The domain's types write themselves as JSON and name no crate for documents, so their shapes
//! are described here. The contract test holds every answer of a running server against these
//! descriptions, and finds a member that is missing on either side.

mod passes;
mod roster;
mod topology;

pub use passes::{Pass, Step, StepClass, StepOutcome, StepRecord, TopologyChanged};
pub use roster::{
    ClassSource, Delivery, ListenerState, ListenerStatus, Mode, Node, NodeRef, NodeState, Pending,
    Retry, Settings,
};
pub use topology::{
    Argument, Binding, Destination, Drift, DriftKind, DriftObject, Exchange, Failure, ObjectKind,
    Policy, Queue, Remedy, TopologyState,
};
