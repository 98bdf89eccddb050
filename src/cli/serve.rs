//! `hearken serve`: the composition root, and the only place that names every concrete type.

use crate::{
    amqp::AmqpUrl,
    broker::{
        Broker,
        local::LocalBroker,
        rabbitmq::{RabbitMqBroker, RabbitMqConfig},
    },
    bus::{
        EventBus,
        local::LocalBus,
        rabbitmq::{COLLECT_EVERY, RabbitMqBus, RabbitMqBusConfig},
    },
    config::{self, Cluster},
    dispatch::Dispatcher,
    domain::{
        bus::Buses,
        event::NodeRef,
        layout::{Flavor, Layout},
        listener::ListenerSpec,
        span::Span,
    },
    health::Health,
    http::{self, App, Tokens},
    listeners::{
        Catalog, built_in,
        webhook::policy::{WebhookPolicy, parse_allow},
    },
    metrics::Metrics,
    node::{self, Supervisor, add_required},
    reconcile::{self, Parts},
    roster::{RosterConfig, RosterService, tail_log},
    shutdown,
    store::{Store, embedded::Occupancy},
    tasks::Tasks,
    tls,
};
use anyhow::Context;
use futures_util::FutureExt;
use std::{net::TcpListener, sync::Arc, time::Duration};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a start waits for the first look at the broker before the node calls itself started.
/// A broker that is away is a state, not a reason to wait for ever.
const FIRST_LOOK: Duration = Duration::from_secs(10);

/// What a program that uses the library brings.
#[derive(Clone, Default)]
pub struct Extras {
    /// Its own classes.
    pub catalog: Catalog,
    /// Listeners that every node of it demands.
    pub required: Vec<ListenerSpec>,
    /// Called once the node runs, with its way to dispatch events and to follow keys. Must return
    /// quickly; what takes longer is spawned.
    pub started: Option<Started>,
}

/// What a program does when its node runs.
pub type Started = Arc<dyn Fn(&Dispatcher) + Send + Sync>;

/// Runs a node until it is told to stop.
///
/// # Errors
/// Why it could not start. Once it runs, trouble is a state that it reports, not an end.
pub async fn serve(settings: config::Serve, extras: Extras) -> anyhow::Result<()> {
    tls::init();
    // First, so that a port in use is said before anything is opened.
    let listener = TcpListener::bind(settings.listen)
        .with_context(|| format!("cannot listen on {} (--listen)", settings.listen))?;
    let store = open_store(&settings).await?;
    let tokens = Tokens::load(
        settings.admin_token_file.as_deref(),
        settings.read_token_file.as_deref(),
        &settings.data_dir,
    )?;
    if let Some(path) = tokens.generated() {
        let path = path.display();
        tracing::info!(%path, "the administrator's token is in {path}");
        if settings.cluster.is_some() {
            tracing::warn!(
                "this token is this node's own; give all nodes one with --admin-token-file"
            );
        }
    }
    let metrics = Arc::new(Metrics::default());
    let roster = load_roster(&settings, &extras, &store, &metrics).await?;
    let (broker, bus) = connect(&settings, &store, &roster, &metrics)?;
    let parts = Arc::new(Parts {
        roster,
        store,
        broker,
        bus,
        metrics,
        mode: settings.reconcile,
        interval: settings.reconcile_interval,
        nudge: Arc::default(),
        tried: watch::Sender::new(false),
    });
    Node::start(&settings, parts, tokens, listener, extras.started)?.run_until_stopped().await
}

/// The roster as the log has it, with this node's required listeners.
async fn load_roster(
    settings: &config::Serve,
    extras: &Extras,
    store: &Store,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Arc<RosterService>> {
    let node = NodeRef { id: settings.node_id.clone(), host: config::host_name() };
    let buses = record_buses(store, settings, &node).await?;
    for bus in buses.keys() {
        metrics.bus(bus);
    }
    let required: Vec<ListenerSpec> =
        settings.required.iter().chain(&extras.required).cloned().collect();
    let layout = Layout {
        prefix: settings.prefix.clone(),
        cluster: store.cluster_id(),
        queue_type: settings.queue_type,
        flavor: if settings.cluster.is_some() { Flavor::RabbitMq } else { Flavor::Local },
    };
    let here = RosterConfig {
        node,
        catalog: catalog(settings, extras)?,
        required: required.iter().map(|listener| listener.group.clone()).collect(),
        buses,
        layout,
    };
    let roster = Arc::new(RosterService::new(store.clone(), here, Arc::clone(metrics)));
    roster.current().await.context("the roster cannot be read")?;
    add_required(&roster, &required).await.context("the required listeners cannot be added")?;
    Ok(roster)
}

/// A node that runs.
struct Node {
    handle: node::ThisNode,
    parts: Arc<Parts>,
    tasks: Tasks,
    patience: Span,
    stops: Stops,
    running: TaskTracker,
    consuming: JoinHandle<()>,
    answering: JoinHandle<std::io::Result<()>>,
}

impl Node {
    /// Starts every loop of the node.
    fn start(
        settings: &config::Serve,
        parts: Arc<Parts>,
        tokens: Tokens,
        listener: TcpListener,
        started: Option<Started>,
    ) -> anyhow::Result<Self> {
        let Parts { roster, store, broker, bus, metrics, .. } = &*parts;
        let (reconciler, requests) = reconcile::Handle::new(Arc::clone(&parts));
        let handle = node::ThisNode::new(roster.node().clone());
        let tasks = Tasks::new(store.clone(), roster.node().clone());
        let supervisor = Supervisor {
            roster: Arc::clone(roster),
            store: store.clone(),
            bus: Arc::clone(bus),
            metrics: Arc::clone(metrics),
            handle: handle.clone(),
            nudge: Arc::clone(&parts.nudge),
            patience: settings.shutdown_patience.duration(),
        };
        let stops = Stops::default();
        let dispatcher = Dispatcher::new(
            Arc::clone(bus),
            store.clone(),
            Arc::clone(roster),
            Arc::clone(metrics),
        );
        let app = Arc::new(App {
            store: store.clone(),
            roster: Arc::clone(roster),
            reconciler: reconciler.clone(),
            dispatcher: dispatcher.clone(),
            bus: Arc::clone(bus),
            catalog: roster.catalog().clone(),
            tasks: tasks.clone(),
            health: Health {
                store: store.clone(),
                broker: Arc::clone(broker),
                bus: Arc::clone(bus),
                roster: Arc::clone(roster),
                node: handle.clone(),
                cluster: settings.cluster.is_some(),
                stale: settings.reconcile_interval.duration() * 4,
            },
            node: handle.clone(),
            metrics: Arc::clone(metrics),
            tokens,
            stop: stops.http.clone(),
        });
        let running = TaskTracker::new();
        let consuming = running.spawn(supervisor.run(stops.listeners.clone()));
        running.spawn(tail_log(Arc::clone(roster), stops.rest.clone()));
        running.spawn(reconcile::run(Arc::clone(&parts), requests, stops.rest.clone()));
        let beat =
            node::beat(handle.clone(), Arc::clone(roster), store.clone(), stops.beat.clone());
        running.spawn(beat);
        running.spawn(dispatcher.clone().run(stops.rest.clone()));
        let entering = enter_running(handle.clone(), reconciler);
        let starting = async move {
            entering.await;
            if let Some(started) = started {
                started(&dispatcher);
            }
        };
        let stop = stops.listeners.clone();
        running.spawn(async move { stop.run_until_cancelled(starting).await });
        let address = listener.local_addr()?;
        let answering =
            running.spawn(http::serve(listener, app, stops.http.clone(), HTTP_PATIENCE));
        let (node, version) = (&settings.node_id, env!("CARGO_PKG_VERSION"));
        tracing::info!(%address, %node, "hearken {version} listens on http://{address}");
        let patience = settings.shutdown_patience;
        Ok(Self { handle, parts, tasks, patience, stops, running, consuming, answering })
    }

    async fn run_until_stopped(mut self) -> anyhow::Result<()> {
        let signals = shutdown::signals();
        let failed = tokio::select! {
            () = signals.first() => None,
            ended = &mut self.answering => Some(ended),
        };
        self.handle.stopping();
        let patience = self.patience;
        tracing::info!(%patience, "stopping: no new events are taken; handlers have {patience} to finish");
        tokio::select! {
            () = self.end() => tracing::info!("stopped"),
            () = signals.second() => tracing::warn!("stopped at once, at a second signal"),
        }
        match failed {
            Some(ended) => ended?.context("the HTTP server ended"),
            None => Ok(()),
        }
    }

    /// Consumers first, while everything they need still runs; the heartbeat that says so last.
    async fn end(self) {
        self.stops.listeners.cancel();
        if let Err(error) = self.consuming.await {
            tracing::error!(%error, "the supervisor ended badly: {error}");
        }
        self.tasks.stop().await;
        self.stops.http.cancel();
        self.stops.rest.cancel();
        self.stops.beat.cancel();
        self.running.close();
        self.running.wait().await;
        self.parts.bus.close().await;
        self.parts.store.close().await;
    }
}

/// The node counts as started when it has looked at the broker once, or tried to for a while.
async fn enter_running(handle: node::ThisNode, reconciler: reconcile::Handle) {
    if tokio::time::timeout(FIRST_LOOK, reconciler.first_pass()).await.is_err() {
        tracing::warn!("the broker has not been looked at yet; this node goes on without");
    }
    handle.started();
    let state = handle.state();
    tracing::info!(?state, "this node has started; it is {state:?}");
}

/// How long requests under way may take once the node stops.
const HTTP_PATIENCE: Duration = Duration::from_secs(5);

/// What is told to stop, in this order.
#[derive(Default)]
struct Stops {
    listeners: CancellationToken,
    http: CancellationToken,
    rest: CancellationToken,
    beat: CancellationToken,
}

async fn open_store(settings: &config::Serve) -> anyhow::Result<Store> {
    Ok(match &settings.cluster {
        Some(cluster) => Store::postgres(cluster.database_url.expose())
            .await
            .context("the database cannot be used (--database-url)")?,
        None => Store::sqlite(&settings.data_dir).await?,
    })
}

/// Records this node's buses. The first node that names one defines it for all.
async fn record_buses(
    store: &Store,
    settings: &config::Serve,
    node: &NodeRef,
) -> anyhow::Result<Buses> {
    for definition in &settings.buses {
        let recorded = store.record_bus(definition, node).await?;
        if recorded != *definition {
            let bus = &definition.name;
            tracing::warn!(%bus, "this node's configuration defines bus {bus} differently from the cluster; the cluster's definition holds");
        }
    }
    Ok(store.buses().await?.into_iter().map(|bus| (bus.name.clone(), bus)).collect())
}

pub(super) fn catalog(settings: &config::Serve, extras: &Extras) -> anyhow::Result<Catalog> {
    let allow = parse_allow(&settings.webhook_allow.join(","))
        .map_err(|wrong| anyhow::anyhow!("--webhook-allow: {wrong}"))?;
    let policy = WebhookPolicy {
        allow,
        // Whoever can reach hearken on loopback can reach the rest of it.
        loopback: settings.listen.ip().is_loopback(),
        private: settings.cluster.is_none(),
    };
    Ok(built_in(policy).merged(&extras.catalog))
}

type Sides = (Arc<dyn Broker>, Arc<dyn EventBus>);

fn connect(
    settings: &config::Serve,
    store: &Store,
    roster: &Arc<RosterService>,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Sides> {
    let layout = roster.layout().clone();
    let Some(Cluster { amqp_url, management_url, .. }) = &settings.cluster else {
        let occupancy = Occupancy::default();
        let embedded = store.embedded().expect("without a cluster the store is embedded");
        let broker = LocalBroker::new(embedded.clone(), layout.clone(), occupancy.clone());
        let bus =
            LocalBus::new(embedded, layout, occupancy, &settings.node_id, Arc::clone(metrics));
        return Ok((Arc::new(broker), Arc::new(bus)));
    };
    let amqp_url = AmqpUrl::parse(amqp_url.expose())?;
    let node = settings.node_id.clone();
    let broker = RabbitMqBroker::new(RabbitMqConfig {
        amqp_url: amqp_url.clone(),
        management_url: management_url.as_ref().map(|url| url.expose().to_owned()),
        layout: layout.clone(),
        node: node.clone(),
    })?;
    let roster_of_now = Arc::clone(roster);
    let bus = RabbitMqBus::new(RabbitMqBusConfig {
        amqp_url,
        layout,
        node,
        store: store.clone(),
        collect_every: COLLECT_EVERY,
        discards: Arc::new(move |group| {
            let roster = Arc::clone(&roster_of_now);
            // What cannot be known is kept.
            async move { roster.current().await.is_ok_and(|now| now.discards(&group)) }.boxed()
        }),
        metrics: Arc::clone(metrics),
    });
    bus.set_buses(&roster.buses());
    Ok((Arc::new(broker), Arc::new(bus)))
}
