//! Heartbeats: they tell the cluster that this node lives, and its state.

use super::ThisNode;
use crate::{
    clock::Clock,
    domain::report::{NodeState, NodeStatus},
    roster::RosterService,
    store::Store,
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Pause between two heartbeats. Other nodes take a node that misses four heartbeats as gone.
const BEAT: Duration = Duration::from_secs(5);

/// Writes a heartbeat after each pause and after each change of the node's state, until it is told
/// to stop. Then it writes a last heartbeat, with state `gone`.
pub async fn beat(
    node: ThisNode,
    roster: Arc<RosterService>,
    store: Store,
    clock: Clock,
    stop: CancellationToken,
) {
    let instance = Uuid::new_v4();
    let mut listeners = node.listeners.subscribe();
    let mut phase = node.phase.subscribe();
    let mut versions = roster.subscribe();
    let mut twin_reported = false;
    let mut beating_since = clock.monotonic();
    loop {
        let last = stop.is_cancelled();
        let mut status = status(&node, &roster, &clock);
        if last {
            status.state = NodeState::Gone;
        }
        match store.heartbeat(&status, instance).await {
            Ok(beat) => {
                if let Some(host) = beat.twin.filter(|_| !twin_reported) {
                    let id = &status.id;
                    tracing::warn!(node = %id, %host, "another process, on {host}, just sent a heartbeat with the node id {id}; unless it was the predecessor of this process, give each node its own --node-id");
                    twin_reported = true;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "the heartbeat could not be written");
                beating_since = clock.monotonic();
            }
        }
        // While this node could not write heartbeats, other nodes could not either. So they count
        // as gone only after they had time to write heartbeats again.
        if clock.elapsed(beating_since) > 6 * BEAT
            && let Ok(orphans) = store.fail_tasks_of_gone_nodes().await
            && !orphans.is_empty()
        {
            let count = orphans.len();
            tracing::warn!(
                count,
                "{count} tasks have failed, because the node that ran them is gone"
            );
        }
        if last {
            return;
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(BEAT) => {}
            _ = listeners.changed() => {}
            _ = phase.changed() => {}
            _ = versions.changed() => {}
        }
    }
}

fn status(node: &ThisNode, roster: &RosterService, clock: &Clock) -> NodeStatus {
    let now = clock.now();
    NodeStatus {
        id: node.node.id.clone(),
        host: node.node.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: node.state(),
        // The store writes the time of the database's clock instead.
        started_at: now,
        last_seen: now,
        roster_version: roster.known().version(),
        listeners: node.listeners(),
    }
}
