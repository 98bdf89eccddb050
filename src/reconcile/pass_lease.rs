//! The lease under which the broker is changed.

use super::{context::ReconcileContext, error::PassError};
use crate::{
    domain::report::PassState,
    store::{Lease, LeaseName, StoreError},
};

/// Takes the lease on passes, or fails with [`PassError::Busy`] while another node holds it.
pub(super) async fn take_lease(context: &ReconcileContext) -> Result<Lease, PassError> {
    let node = &context.roster.node().id;
    let lease = context.store.try_take(LeaseName::Passes, node).await?;
    let lease = lease.ok_or(PassError::Busy)?;
    close_interrupted_passes(context, &lease).await?;
    Ok(lease)
}

/// Closes the records of passes whose node ended, or lost the lease, before it recorded the
/// outcomes of its steps. The pass that begins observes what these steps left.
async fn close_interrupted_passes(
    context: &ReconcileContext,
    lease: &Lease,
) -> Result<(), StoreError> {
    for mut pass in lease.unfinished_passes().await? {
        pass.state = PassState::Interrupted;
        pass.finished_at = Some(context.clock.now());
        lease.record_pass(&mut pass).await?;
        let (id, node, steps) = (pass.id, &pass.node.id, pass.steps.len());
        tracing::warn!(
            id, %node, steps,
            "pass {id} of node {node} was interrupted; it is not known which of its {steps} steps were applied, and this pass looks at the broker: GET /topology/passes shows the steps"
        );
    }
    Ok(())
}
