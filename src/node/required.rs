//! Adding the listeners that this node's configuration requires (James ADR 35, "on start").

use crate::{
    domain::{command::Command, listener::ListenerSpec, roster::Refusal},
    roster::{Audited, ExecuteError, RosterService},
    store::StoreError,
};

/// Adds each required listener that is missing. A listener that another node adds at the same time
/// is a success. A refused listener is an ERROR in the log, and the other listeners are added.
///
/// # Errors
/// When the log cannot be read or written.
pub async fn add_required(
    service: &RosterService,
    required: &[ListenerSpec],
) -> Result<(), StoreError> {
    for listener in required {
        let group = &listener.group;
        let roster = service.current().await?;
        if let Ok(present) = roster.configured(group) {
            let settings = present.listener.differences(listener).join(", ");
            if !settings.is_empty() {
                tracing::warn!(%group, "the roster defines required listener {group} with other values for {settings} than this node's configuration; the roster's values hold; change the listener (hearken listeners change) or [[required]]");
            }
            continue;
        }
        let asked = Audited {
            actor: format!("node:{}", service.node().id),
            reason: Some("required by the node's configuration".to_owned()),
            request_id: None,
            if_match: None,
            idempotency: None,
        };
        match service.execute(Command::AddListener(listener.clone()), asked).await {
            Ok(_) | Err(ExecuteError::Refused(Refusal::GroupInUse { .. })) => {}
            Err(ExecuteError::Store(error)) => return Err(error),
            Err(refused) => {
                tracing::error!(%group, "required listener {group} was not added: {refused}");
            }
        }
    }
    Ok(())
}
