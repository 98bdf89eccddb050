//! A running node: the order in which its loops start, and the order in which they stop.

use super::{
    Started,
    assemble::{Assembly, Loops, Stops},
};
use crate::{
    domain::span::Span, http, node, reconcile, reconcile::ReconcileContext, shutdown::StopSignals,
    tasks::Tasks,
};
use anyhow::Context;
use std::{io, net::TcpListener, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// How long a start waits for the first pass before the node calls itself started. A broker that
/// is away is a state; a node must start without it.
const FIRST_PASS: Duration = Duration::from_secs(10);

/// How long open HTTP requests may take once the node stops.
const HTTP_PATIENCE: Duration = Duration::from_secs(5);

/// A node whose loops run.
pub(super) struct RunningNode {
    node: node::ThisNode,
    context: Arc<ReconcileContext>,
    tasks: Tasks,
    patience: Span,
    stops: Stops,
    running: TaskTracker,
    supervisor: JoinHandle<()>,
    http_server: JoinHandle<io::Result<()>>,
}

impl RunningNode {
    /// Starts every loop of the node.
    pub(super) fn start(
        assembly: Assembly,
        stops: Stops,
        listener: TcpListener,
        started: Option<Started>,
    ) -> anyhow::Result<Self> {
        let Assembly {
            node_id,
            node,
            reconciler,
            context,
            tasks,
            dispatcher,
            app,
            loops,
            patience,
        } = assembly;
        let Loops {
            supervisor,
            tail,
            reconciler: passes,
            heartbeat,
            dispatcher: dispatching,
            sweeper,
        } = loops;
        let address = listener.local_addr()?;
        let running = TaskTracker::new();
        let supervisor = running.spawn(supervisor);
        for each in [tail, passes, heartbeat, dispatching, sweeper] {
            running.spawn(each);
        }
        let entering = enter_running(node.clone(), reconciler);
        let starting = async move {
            entering.await;
            if let Some(started) = started {
                started(&dispatcher);
            }
        };
        let stop = stops.listeners.clone();
        running.spawn(async move { stop.run_until_cancelled(starting).await });
        let http_server =
            running.spawn(http::serve(listener, app, stops.http.clone(), HTTP_PATIENCE));
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(%address, node = %node_id, "hearken {version} listens on http://{address}");
        Ok(Self { node, context, tasks, patience, stops, running, supervisor, http_server })
    }

    /// Waits for a signal, or for the HTTP server to fail; then stops the node.
    pub(super) async fn run_until_stopped(mut self) -> anyhow::Result<()> {
        let mut signals = StopSignals::catch();
        let failed = tokio::select! {
            () = signals.next() => None,
            ended = &mut self.http_server => Some(ended),
        };
        self.node.stopping();
        let patience = self.patience;
        tracing::info!(%patience, "stopping: this node takes no new events; handlers have {patience} to finish");
        tokio::select! {
            () = self.stop() => tracing::info!("stopped"),
            () = signals.next() => tracing::warn!("stopped at once, because of a second signal"),
        }
        match failed {
            Some(ended) => ended?.context("the HTTP server ended"),
            None => Ok(()),
        }
    }

    /// Stops the node in the order of [`Stops`], then closes the bus and the database.
    async fn stop(self) {
        self.stops.listeners.cancel();
        if let Err(error) = self.supervisor.await {
            tracing::error!(%error, "the supervisor failed while it stopped the listeners: {error}");
        }
        self.tasks.stop().await;
        self.stops.http.cancel();
        self.stops.others.cancel();
        self.stops.heartbeat.cancel();
        self.running.close();
        self.running.wait().await;
        self.context.bus.close().await;
        self.context.store.close().await;
    }
}

/// Marks the node as started after the first pass, or after [`FIRST_PASS`] without one, once no
/// other process uses its id.
async fn enter_running(node: node::ThisNode, reconciler: reconcile::Reconciler) {
    if tokio::time::timeout(FIRST_PASS, reconciler.first_pass()).await.is_err() {
        tracing::warn!(
            "the broker could not be compared with the roster yet; this node starts without, and keeps trying"
        );
    }
    node.id_owned().await;
    node.started();
    let state = node.state();
    tracing::info!(?state, "this node has started; it is {state:?}");
}
