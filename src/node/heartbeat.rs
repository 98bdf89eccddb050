//! Telling the cluster that this node lives, and how it is.

use super::ThisNode;
use crate::{
    clock,
    domain::report::{NodeState, NodeStatus},
    roster::RosterService,
    store::Store,
};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The time between two heartbeats. A node that misses four is gone for the others.
const BEAT: Duration = Duration::from_secs(5);

/// Writes a heartbeat now and then, and whenever something changed, until told to stop; then once
/// more, as gone.
pub async fn beat(
    node: ThisNode,
    roster: Arc<RosterService>,
    store: Store,
    stop: CancellationToken,
) {
    let instance = Uuid::new_v4();
    let mut listeners = node.listeners.subscribe();
    let mut phase = node.phase.subscribe();
    let mut versions = roster.subscribe();
    let mut reported = false;
    let mut beating_since = Instant::now();
    loop {
        let last = stop.is_cancelled();
        let mut status = status(&node, &roster);
        if last {
            status.state = NodeState::Gone;
        }
        match store.heartbeat(&status, instance).await {
            Ok(beat) => {
                if let Some(host) = beat.twin.filter(|_| !reported) {
                    let id = &status.id;
                    tracing::warn!(node = %id, %host, "another process, on {host}, was heard of under the node id {id} just now: unless it was this node's predecessor, give each its own --node-id");
                    reported = true;
                }
            }
            Err(error) => {
                tracing::debug!(%error, "could not write a heartbeat");
                beating_since = Instant::now();
            }
        }
        // While one node could not beat, the others could not either, and are not gone.
        if beating_since.elapsed() > 6 * BEAT
            && let Ok(orphans) = store.fail_tasks_of_gone_nodes().await
            && !orphans.is_empty()
        {
            let count = orphans.len();
            tracing::warn!(
                count,
                "{count} tasks are failed, because the node that ran them is gone"
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

fn status(node: &ThisNode, roster: &RosterService) -> NodeStatus {
    let now = clock::now();
    NodeStatus {
        id: node.node.id.clone(),
        host: node.node.host.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        state: node.state(),
        // The store records the database's clock in their place.
        started_at: now,
        last_seen: now,
        roster_version: roster.known().version(),
        listeners: node.listeners(),
    }
}
