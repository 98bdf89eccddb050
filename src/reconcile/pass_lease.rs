//! The lease under which the broker is changed.

use super::{context::ReconcileContext, error::PassError};
use crate::store::{Lease, LeaseName};

/// Takes the lease on passes, or fails with [`PassError::Busy`] while another node holds it.
pub(super) async fn take_lease(context: &ReconcileContext) -> Result<Lease, PassError> {
    let node = &context.roster.node().id;
    let lease = context.store.try_take(LeaseName::Passes, node).await?;
    lease.ok_or(PassError::Busy)
}
