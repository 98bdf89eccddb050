//! A local work queue, with all that its consumer needs.

use super::waiting::{LentPlaces, Waiting};
use crate::{
    bus::{Consumption, Listener},
    clock::Clock,
    metrics::Metrics,
    store::embedded::{Embedded, Occupancy},
};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// A work queue and the listener that consumes it.
#[derive(Clone)]
pub(super) struct LocalQueue {
    pub(super) store: Embedded,
    pub(super) occupancy: Occupancy,
    pub(super) consumption: Arc<Consumption>,
    pub(super) listener: Arc<dyn Listener>,
    /// The dispatches that wait for executions.
    pub(super) waiting: Waiting,
    /// Places of executions that wait for their own dispatches.
    pub(super) places: LentPlaces,
    /// Cancelled when the consumer no longer waits for running executions.
    pub(super) abort: CancellationToken,
    /// Id of this node.
    pub(super) node: Arc<str>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
}
