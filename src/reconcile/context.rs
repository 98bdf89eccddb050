//! Everything that the reconciler works with.

use crate::{
    broker::Broker, bus::EventBus, clock::Clock, metrics::Metrics, roster::RosterService,
    store::Store,
};
use std::sync::Arc;
use tokio::sync::Notify;

/// Services and settings of the reconciler.
pub struct ReconcileContext {
    /// The roster of this node.
    pub roster: Arc<RosterService>,
    /// Keeps the status, the records of passes, the retired queues, and the lease.
    pub store: Store,
    /// The broker that is observed and changed.
    pub broker: Arc<dyn Broker>,
    /// Carries the broadcasts about changes of the topology.
    pub bus: Arc<dyn EventBus>,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Source of the time.
    pub clock: Clock,
    /// Wakes a pass. Rung by a part of this node that found the broker other than expected, such
    /// as a consumer whose queue vanished. Carries no data: the pass looks at everything.
    pub nudge: Arc<Notify>,
}
