//! Heartbeats: they tell the cluster that this node lives, and its state.

use super::ThisNode;
use crate::{
    clock::Clock,
    domain::{
        cluster::ClusterSetting,
        report::{NodeState, NodeStatus},
    },
    roster::RosterService,
    store::{
        Store, StoreError,
        nodes::{Heartbeat, NodeInstance},
    },
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Pause between two heartbeats. Other nodes take a node that misses four heartbeats as gone.
const BEAT: Duration = Duration::from_secs(5);

/// Pause between two looks for tasks of nodes that are gone, while tasks have not ended.
const ORPHANS: Duration = Duration::from_secs(20);

/// Reports another process with the id of this node, once for each time that it is met.
#[derive(Default)]
struct TwinReport(bool);

impl TwinReport {
    fn met(&mut self, id: &str, host: &str) {
        if !std::mem::replace(&mut self.0, true) {
            tracing::error!(node = %id, %host, "another process, on {host}, uses the node id {id}, so this node does not become ready; give each node its own --node-id (if that process was the predecessor of this one and was killed, this node becomes ready in a few seconds)");
        }
    }

    fn over(&mut self, id: &str) {
        if std::mem::take(&mut self.0) {
            tracing::info!(node = %id, "no other process uses the node id {id} any more");
        }
    }
}

/// Writes a heartbeat after each pause and after each change of the node's state, until it is told
/// to stop. Then it writes a last heartbeat, with state `gone`.
///
/// The database's answer tells the newest event of the roster, so that a lost ring of the
/// doorbell costs no statement of its own.
pub async fn beat(
    node: ThisNode,
    roster: Arc<RosterService>,
    store: Store,
    clock: Clock,
    stop: CancellationToken,
) {
    let (id, began) = (Uuid::new_v4(), clock.monotonic());
    let mut listeners = node.listeners.subscribe();
    let mut phase = node.phase.subscribe();
    let mut versions = roster.subscribe();
    let mut twin = TwinReport::default();
    let mut beating_since = clock.monotonic();
    let mut looked_for_orphans = clock.monotonic();
    loop {
        let last = stop.is_cancelled();
        let mut status = status(&node, &roster, &clock);
        if last {
            status.state = NodeState::Gone;
        }
        let instance = NodeInstance { id, uptime: clock.elapsed(began) };
        let mut unfinished_tasks = 0;
        match store.heartbeat(&status, instance).await {
            Ok(Heartbeat::Written { last_event, unfinished, .. }) => {
                twin.over(&status.id);
                node.own_id();
                unfinished_tasks = unfinished;
                if last_event != roster.known().last_event() {
                    store.ring_here();
                }
            }
            Ok(Heartbeat::IdInUse { host }) => twin.met(&status.id, &host),
            Err(error) => {
                tracing::debug!(%error, "the heartbeat could not be written");
                beating_since = clock.monotonic();
                // The tail then finds out whether it can read.
                store.ring_here();
            }
        }
        // While this node could not write heartbeats, other nodes could not either. So they count
        // as gone only after they had time to write heartbeats again.
        if unfinished_tasks > 0
            && clock.elapsed(beating_since) > 6 * BEAT
            && clock.elapsed(looked_for_orphans) > ORPHANS
            && fail_orphaned_tasks(&store).await.is_ok()
        {
            looked_for_orphans = clock.monotonic();
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

/// Ends the tasks of nodes that are gone, as failed.
async fn fail_orphaned_tasks(store: &Store) -> Result<(), StoreError> {
    let count = store.fail_tasks_of_gone_nodes().await?.len();
    if count > 0 {
        tracing::warn!(count, "{count} tasks have failed, because the node that ran them is gone");
    }
    Ok(())
}

fn status(node: &ThisNode, roster: &RosterService, clock: &Clock) -> NodeStatus {
    let now = clock.now();
    let differing = roster.differing_settings().into_iter().map(ClusterSetting::name);
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
        differing_settings: differing.map(ToOwned::to_owned).collect(),
    }
}
