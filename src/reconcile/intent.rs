//! What the roster asks of the broker.

use crate::domain::{
    bus::Buses,
    desired::Desired,
    roster::{QueueId, Roster},
};
use std::{collections::BTreeSet, sync::Arc};

/// The roster, and the topology that the roster asks for.
pub(super) struct Intent {
    /// The roster.
    pub(super) roster: Arc<Roster>,
    /// The buses of the cluster.
    pub(super) buses: Arc<Buses>,
    /// Queues of removed listeners whose deletion is done.
    pub(super) retired: BTreeSet<QueueId>,
    /// The topology that roster, buses and retired queues add up to.
    pub(super) desired: Desired,
}
