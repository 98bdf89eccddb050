//! What the roster asks of the broker.

use super::context::ReconcileContext;
use crate::{
    domain::{
        bus::Buses,
        desired::{Desired, desired},
        roster::{QueueId, Roster},
    },
    store::StoreError,
};
use std::{collections::BTreeSet, sync::Arc};

/// The roster, and the topology that the roster asks for. Loaded here by a pass, a dry run, a look
/// and a requested deletion alike.
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

impl Intent {
    /// Reads the roster, the buses and the retired queues as the database has them now.
    pub(super) async fn load(context: &ReconcileContext) -> Result<Self, StoreError> {
        let roster = context.roster.current().await?;
        let buses = context.roster.read_buses().await?;
        let retired = context.store.retired().await?;
        let desired = desired(context.roster.layout(), &buses, &roster, &retired);
        Ok(Self { roster, buses, retired, desired })
    }
}
