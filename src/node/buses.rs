//! The buses that the node's configuration defines.

use crate::{
    domain::{command::Command, roster::Refusal},
    roster::{Audited, ExecuteError, RosterService},
    store::StoreError,
};

/// Adds the buses that the cluster does not have. The definition of the first node holds for the
/// cluster: a bus that the cluster has is left as it is, and a difference is logged.
///
/// # Errors
/// When the log cannot be used. A bus that this node refuses is logged and left out.
pub async fn add_buses(service: &RosterService) -> Result<(), StoreError> {
    for bus in service.configured_buses() {
        let name = &bus.name;
        if service.buses().get(name) == Some(bus) {
            continue;
        }
        let asked = Audited {
            actor: format!("node:{}", service.node().id),
            reason: Some("defined by the node's configuration".to_owned()),
            request_id: None,
            if_match: None,
            idempotency: None,
        };
        match service.execute(Command::AddBus(bus.clone()), asked).await {
            Ok(_) => {}
            // Another node may have added the bus at this moment, with the same definition.
            Err(ExecuteError::Refused(Refusal::BusInUse { .. })) => {
                if service.buses().get(name) != Some(bus) {
                    tracing::warn!(bus = %name, "this node's configuration defines bus {name} differently from the cluster; the cluster's definition holds; correct [[bus]]");
                }
            }
            Err(ExecuteError::Store(error)) => return Err(error),
            Err(refused) => tracing::error!(bus = %name, "bus {name} was not added: {refused}"),
        }
    }
    Ok(())
}
