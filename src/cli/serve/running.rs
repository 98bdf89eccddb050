//! A running node: the order in which its loops start, and the order in which they stop.

use super::{
    Started,
    assemble::{Assembly, Loops, Stops},
};
use crate::{
    background::LoopWatch, domain::span::Span, http, node, reconcile, reconcile::ReconcileContext,
    shutdown::StopSignals, tasks::Tasks,
};
use std::{io, net::TcpListener, sync::Arc, time::Duration};
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// How long a start waits for the first pass before the node calls itself started. A broker that
/// is away is a state; a node must start without it.
const FIRST_PASS: Duration = Duration::from_secs(10);

/// How long open HTTP requests may take once the node stops.
const HTTP_PATIENCE: Duration = Duration::from_secs(5);

/// How long an orderly stop may take in addition to the patience. With the default patience of 20
/// seconds, a node ends before Kubernetes kills it after 30, also when the database is away.
const BEYOND_PATIENCE: Duration = Duration::from_secs(8);

/// End of a running node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodeEnd {
    /// A signal stopped the node.
    Stopped,
    /// An operator gave the log a new identity, which the parts of the node do not know.
    LogAdopted,
}

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
        let address = listener.local_addr()?;
        let (running, watch) = (TaskTracker::new(), LoopWatch::of_process());
        let supervisor = spawn_loops(&running, watch, &stops, loops);
        let entering = enter_running(node.clone(), reconciler);
        let starting = async move {
            entering.await;
            if let Some(started) = started {
                started(&dispatcher);
            }
        };
        let stop = stops.listeners.clone();
        // The callback of a program is part of the node that the program runs.
        running.spawn(async move {
            let starting = async {
                stop.run_until_cancelled(starting).await;
                stop.cancelled().await;
            };
            watch.run("the start of the node", stop.clone(), starting).await;
        });
        let http_server =
            running.spawn(http::serve(listener, app, stops.http.clone(), HTTP_PATIENCE));
        let version = env!("CARGO_PKG_VERSION");
        tracing::info!(%address, node = %node_id, "hearken {version} listens on http://{address}");
        Ok(Self { node, context, tasks, patience, stops, running, supervisor, http_server })
    }

    /// Waits for a signal, for a new identity of the log, for the HTTP server to fail, or for a
    /// loop to end; then stops the node.
    pub(super) async fn run_until_stopped(mut self) -> anyhow::Result<NodeEnd> {
        let mut signals = StopSignals::catch();
        let mut end = NodeEnd::Stopped;
        let roster = Arc::clone(&self.context.roster);
        let failure = tokio::select! {
            () = signals.next() => None,
            () = roster.adopted() => {
                end = NodeEnd::LogAdopted;
                None
            }
            ended = &mut self.http_server => Some(match ended {
                Ok(Ok(())) => anyhow::anyhow!("the HTTP server ended before the node was told to stop"),
                Ok(Err(error)) => anyhow::Error::new(error).context("the HTTP server ended"),
                Err(error) => anyhow::Error::new(error).context("the HTTP server ended"),
            }),
            ended = LoopWatch::of_process().wait() => Some(anyhow::anyhow!("{ended}")),
        };
        self.node.stopping();
        let patience = self.patience;
        tracing::info!(%patience, "stopping: this node takes no new events; handlers have {patience} to finish");
        let limit = patience.duration() + BEYOND_PATIENCE;
        tokio::select! {
            () = self.stop() => tracing::info!("stopped"),
            () = signals.next() => {
                // The operator wants the process to end, also when the node was to start again.
                end = NodeEnd::Stopped;
                tracing::warn!("stopped at once, because of a second signal");
            }
            () = tokio::time::sleep(limit) => tracing::error!("stopped at once, because the orderly stop took longer than {limit:?}"),
        }
        failure.map_or(Ok(end), Err)
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

/// Spawns the loops of the node under watch. Returns the supervisor, whose end the node awaits.
fn spawn_loops(
    running: &TaskTracker,
    watch: &'static LoopWatch,
    stops: &Stops,
    loops: Loops,
) -> JoinHandle<()> {
    for (name, each) in [
        ("the tail of the roster", loops.tail),
        ("the reconciler", loops.reconciler),
        ("the dispatcher of kept events", loops.dispatcher),
        ("the sweeper of old records", loops.sweeper),
    ] {
        running.spawn(watch.run(name, stops.others.clone(), each));
    }
    running.spawn(watch.run("the heartbeat", stops.heartbeat.clone(), loops.heartbeat));
    let supervisor = "the supervisor of the listeners";
    running.spawn(watch.run(supervisor, stops.listeners.clone(), loops.supervisor))
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
