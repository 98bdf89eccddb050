//! The composition root: makes every part of a node and joins the parts. Nothing runs yet.

use super::{
    broker_and_bus::{BrokerAndBus, connect},
    roster::load_roster,
};
use crate::{
    clock::Clock,
    config::{self, Cluster},
    dispatch::Dispatcher,
    domain::span::Span,
    health::{Health, HealthMonitor},
    http::{App, Tokens, streams::Streams},
    metrics::Metrics,
    node::{self, Supervisor},
    reconcile::{self, ReconcileContext},
    retention::Sweeper,
    roster::tail_log,
    store::Store,
    tasks::Tasks,
};
use anyhow::Context;
use futures_util::{FutureExt, future::BoxFuture};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Tokens that stop the loops. They are cancelled in the order of the fields.
#[derive(Default)]
pub(super) struct Stops {
    /// Stops the listeners. First, while everything that a handler needs still runs.
    pub(super) listeners: CancellationToken,
    /// Stops the REST interface.
    pub(super) http: CancellationToken,
    /// Stops the tail of the log, the reconciler and the dispatcher.
    pub(super) others: CancellationToken,
    /// Stops the heartbeat. Last, because the last heartbeat says that the node is gone.
    pub(super) heartbeat: CancellationToken,
}

/// A node whose parts are joined and which does not run yet.
pub(super) struct Assembly {
    /// Name of the node, for the log.
    pub(super) node_id: String,
    /// State of the node.
    pub(super) node: node::ThisNode,
    /// Way to the reconciler.
    pub(super) reconciler: reconcile::Reconciler,
    /// Database and bus, which are closed last.
    pub(super) context: Arc<ReconcileContext>,
    /// Longer work.
    pub(super) tasks: Tasks,
    /// Takes events; a program that embeds hearken gets it.
    pub(super) dispatcher: Dispatcher,
    /// State of the REST interface.
    pub(super) app: Arc<App>,
    /// Loops that make up the running node.
    pub(super) loops: Loops,
    /// Time that handlers have to finish when the node stops.
    pub(super) patience: Span,
}

/// Loops of a node. A future does nothing before it is spawned.
pub(super) struct Loops {
    /// Keeps the running listeners equal to the roster.
    pub(super) supervisor: BoxFuture<'static, ()>,
    /// Reads the log, so that the roster stays current.
    pub(super) tail: BoxFuture<'static, ()>,
    /// Makes the broker match the roster.
    pub(super) reconciler: BoxFuture<'static, ()>,
    /// Tells the cluster that this node lives.
    pub(super) heartbeat: BoxFuture<'static, ()>,
    /// Dispatches the events again that the bus could not take at first.
    pub(super) dispatcher: BoxFuture<'static, ()>,
    /// Removes old records.
    pub(super) sweeper: BoxFuture<'static, ()>,
}

/// Opens the database of the settings: PostgreSQL in a cluster, SQLite on a node without one.
pub(in crate::cli) async fn open_store(settings: &config::Serve) -> anyhow::Result<Store> {
    Ok(match &settings.cluster {
        Some(Cluster { database_url, database_connections, .. }) => {
            Store::postgres_with(database_url.expose(), *database_connections)
                .await
                .context("the database cannot be used (--database-url)")?
        }
        None => Store::sqlite(&settings.data_dir).await?,
    })
}

/// Makes the parts of a node. Every part gets the same clock.
pub(super) async fn assemble(
    settings: &config::Serve,
    extras: &super::Extras,
    store: Store,
    tokens: Tokens,
    stops: &Stops,
    clock: Clock,
) -> anyhow::Result<Assembly> {
    let metrics = Arc::new(Metrics::new(clock.clone()));
    let roster = load_roster(settings, extras, &store, &metrics, &clock).await?;
    let BrokerAndBus { broker, bus } = connect(settings, &store, &roster, &metrics, &clock)?;
    let context = Arc::new(ReconcileContext {
        roster,
        store,
        broker,
        bus,
        metrics,
        clock: clock.clone(),
        nudge: Arc::default(),
    });
    let ReconcileContext { roster, store, bus, metrics, .. } = &*context;
    let (reconciler, passes) = reconcile::Reconciler::new(Arc::clone(&context));
    let node = node::ThisNode::new(roster.node().clone());
    let tasks = Tasks::new(store.clone(), roster.node().clone(), clock.clone());
    let dispatcher = dispatcher(&context, &clock);
    let heartbeat = heartbeat(&context, &node, &clock, stops);
    let loops = Loops {
        supervisor: supervisor(settings, &context, &node, &clock)
            .run(stops.listeners.clone())
            .boxed(),
        tail: tail_log(Arc::clone(roster), stops.others.clone()).boxed(),
        reconciler: passes.run(stops.others.clone()).boxed(),
        heartbeat: heartbeat.boxed(),
        dispatcher: dispatcher.clone().run(stops.others.clone()).boxed(),
        sweeper: sweeper(&context).run(stops.others.clone()).boxed(),
    };
    let app = Arc::new(App {
        store: store.clone(),
        roster: Arc::clone(roster),
        reconciler: reconciler.clone(),
        dispatcher: dispatcher.clone(),
        bus: Arc::clone(bus),
        catalog: roster.catalog().clone(),
        tasks: tasks.clone(),
        health: health_monitor(&context, &node, &clock),
        node: node.clone(),
        node_reports: node::NodeReports::new(store.clone(), clock.clone()),
        metrics: Arc::clone(metrics),
        streams: Streams::default(),
        tokens,
        clock,
        stop: stops.http.clone(),
    });
    let (node_id, patience) = (settings.node_id.clone(), settings.shutdown_patience);
    Ok(Assembly { node_id, node, reconciler, context, tasks, dispatcher, app, loops, patience })
}

fn health_monitor(
    context: &ReconcileContext,
    node: &node::ThisNode,
    clock: &Clock,
) -> HealthMonitor {
    let health = health(context, node, clock.clone());
    HealthMonitor::new(health, Arc::clone(&context.metrics))
}

fn dispatcher(context: &ReconcileContext, clock: &Clock) -> Dispatcher {
    Dispatcher::new(
        Arc::clone(&context.bus),
        context.store.clone(),
        Arc::clone(&context.roster),
        Arc::clone(&context.metrics),
        clock.clone(),
    )
}

fn heartbeat(
    context: &ReconcileContext,
    node: &node::ThisNode,
    clock: &Clock,
    stops: &Stops,
) -> impl Future<Output = ()> + use<> {
    let (roster, store) = (Arc::clone(&context.roster), context.store.clone());
    node::beat(node.clone(), roster, store, clock.clone(), stops.heartbeat.clone())
}

fn sweeper(context: &ReconcileContext) -> Sweeper {
    let roster = Arc::clone(&context.roster);
    Sweeper {
        node: context.roster.node().id.clone(),
        store: context.store.clone(),
        retention: Box::new(move || roster.known().settings().retention),
        metrics: Arc::clone(&context.metrics),
        clock: context.clock.clone(),
    }
}

fn supervisor(
    settings: &config::Serve,
    context: &ReconcileContext,
    node: &node::ThisNode,
    clock: &Clock,
) -> Supervisor {
    Supervisor {
        roster: Arc::clone(&context.roster),
        store: context.store.clone(),
        bus: Arc::clone(&context.bus),
        metrics: Arc::clone(&context.metrics),
        handle: node.clone(),
        nudge: Arc::clone(&context.nudge),
        patience: settings.shutdown_patience.duration(),
        clock: clock.clone(),
    }
}

fn health(context: &ReconcileContext, node: &node::ThisNode, clock: Clock) -> Health {
    Health {
        store: context.store.clone(),
        broker: Arc::clone(&context.broker),
        bus: Arc::clone(&context.bus),
        roster: Arc::clone(&context.roster),
        node: node.clone(),
        clock,
    }
}
