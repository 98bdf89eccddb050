//! Adding the listeners that this node's configuration demands (James ADR 35, "on start").

use crate::{
    domain::{command::Command, listener::ListenerSpec, roster::Refusal},
    roster::{Audited, ExecuteError, RosterService},
    store::StoreError,
};

/// Adds each required listener that is missing. Losing the race to a twin is success. One that is
/// refused is an error in the log and leaves the others to be added.
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
            if present.listener != *listener {
                tracing::warn!(%group, "the roster has another definition of required listener {group} than this node's configuration; the roster's holds: remove it by REST after taking it out of [[required]] to change it");
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
