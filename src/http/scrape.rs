//! Values that are read for a scrape of the metrics.

use super::App;
use crate::{
    metrics::{ClusterState, GroupUsage},
    store::{Store, StoreError},
};
use std::time::Duration;
use tokio::time::timeout;

/// Time that a scrape waits for the database. Scrapers commonly give up after ten seconds.
const PATIENCE: Duration = Duration::from_secs(2);

/// Sets the series that are true only at the moment of a scrape. The cluster is read with three
/// short statements, at most every ten seconds. Without an answer in time, the scraper gets the
/// values of the last read, and the time of that read.
pub(super) async fn refresh(app: &App) {
    app.metrics.node(app.node.state(), &app.node.listeners());
    app.metrics.database(app.store.connections(), app.store.dead_letter_quota());
    if app.metrics.wants_cluster_state()
        && let Ok(Ok(state)) = timeout(PATIENCE, read_cluster(&app.store)).await
    {
        app.metrics.cluster_state(&state);
    }
}

async fn read_cluster(store: &Store) -> Result<ClusterState, StoreError> {
    let topology = store.topology_status().await?;
    let counts = store.record_counts().await?;
    let usage = store.dead_letter_counts().await?;
    let dead_letters = usage.into_iter().map(|entry| GroupUsage {
        bus: entry.bus,
        group: entry.group,
        entries: entry.count,
        bytes: entry.bytes,
    });
    Ok(ClusterState {
        head: counts.head,
        topology,
        tasks: counts.tasks,
        commands: counts.commands,
        passes: counts.passes,
        dead_letters: dead_letters.collect(),
    })
}
