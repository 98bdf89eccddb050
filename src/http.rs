//! The REST interface. This file lists all routes; each resource has a file of its own.
//!
//! A request changes the roster and may wait until the broker follows. A request changes nothing on
//! the broker, and reads the broker through the reconciler only. The parameters and answers of a
//! call are documented beside its handler. `openapi.yaml` is generated from this documentation, and
//! the contract test compares it with a running server.

pub mod auth;
pub mod body;
pub mod buses;
pub mod classes;
pub mod cluster;
pub mod dead_letters;
pub mod document;
pub mod envelope;
pub mod events;
pub mod health;
pub mod history;
pub mod listeners;
pub mod nodes;
pub mod notifications;
mod older_than;
pub mod parameters;
pub mod precondition;
pub mod probes;
pub mod problem;
pub mod schema;
mod scrape;
mod serve;
pub mod streams;
pub mod tasks;
pub mod topology;

pub use auth::{TokenError, Tokens};
pub use serve::serve;

use crate::{
    bus::EventBus, clock::Clock, dispatch::Dispatcher, health::HealthMonitor, listeners::Catalog,
    metrics::Metrics, node, reconcile, roster::RosterService, store::Store, tasks::Tasks,
};
use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state};
use document::Access;
use envelope::RequestMeter;
use parameters::KnownParameters;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// Services that the handlers call.
pub struct App {
    /// Database of the node.
    pub store: Store,
    /// Roster of the cluster.
    pub roster: Arc<RosterService>,
    /// Handle of the reconciler, the only way to the broker.
    pub reconciler: reconcile::Reconciler,
    /// Event bus on which clients of notification streams are registered.
    pub bus: Arc<dyn EventBus>,
    /// Dispatcher that publishes events.
    pub dispatcher: Dispatcher,
    /// Classes that this node knows.
    pub catalog: Catalog,
    /// Tasks that run beside requests.
    pub tasks: Tasks,
    /// Health checks of the components.
    pub health: HealthMonitor,
    /// State of this node.
    pub node: node::ThisNode,
    /// Reports of all nodes, for requests that wait until the nodes follow.
    pub node_reports: node::NodeReports,
    /// Metrics of this node.
    pub metrics: Arc<Metrics>,
    /// Places for streams of server-sent events.
    pub streams: streams::Streams,
    /// Bearer tokens that are accepted.
    pub tokens: Tokens,
    /// Source of time.
    pub clock: Clock,
    /// Ends streams and waiting requests when the node stops.
    pub stop: CancellationToken,
}

type Routes = OpenApiRouter<Arc<App>>;

/// Calls that need no token.
fn open_routes() -> Routes {
    OpenApiRouter::with_openapi(document::start())
        .routes(routes!(probes::livez))
        .routes(routes!(probes::readyz))
        .routes(routes!(probes::metrics))
        .routes(routes!(health::check))
        .routes(routes!(health::checks))
        .routes(routes!(health::check_one))
        .routes(routes!(document::openapi))
        .routes(routes!(document::explain))
}

/// Calls that need a token.
fn guarded_routes() -> Routes {
    OpenApiRouter::with_openapi(document::start())
        .routes(routes!(listeners::list, listeners::add))
        .routes(routes!(
            listeners::show,
            listeners::change,
            listeners::pause_or_resume,
            listeners::remove
        ))
        .routes(routes!(history::history))
        .routes(routes!(listeners::diff))
        .routes(routes!(buses::list, buses::add))
        .routes(routes!(buses::edit::change, buses::edit::remove))
        .routes(routes!(cluster::show, cluster::change))
        .routes(routes!(classes::classes))
        .routes(routes!(topology::topology, topology::reconcile))
        .routes(routes!(topology::list_queues))
        .routes(routes!(topology::migrate_or_release_queue, topology::delete_queue))
        .routes(routes!(topology::passes))
        .routes(routes!(topology::changes))
        .routes(routes!(nodes::nodes))
        .routes(routes!(events::dispatch))
        .routes(routes!(notifications::follow))
        .routes(routes!(dead_letters::list, dead_letters::purge, dead_letters::redeliver_all))
        .routes(routes!(dead_letters::show))
        .routes(routes!(dead_letters::groups))
        .routes(routes!(
            dead_letters::ids,
            dead_letters::remove_group,
            dead_letters::redeliver_group
        ))
        .routes(routes!(dead_letters::event, dead_letters::remove, dead_letters::redeliver_one))
        .routes(routes!(dead_letters::details))
        .routes(routes!(tasks::list, tasks::clean_up))
        .routes(routes!(tasks::show, tasks::cancel))
        .routes(routes!(tasks::wait))
}

/// Routes of the interface, and the document that describes them.
struct Interface {
    open: Router<Arc<App>>,
    guarded: Router<Arc<App>>,
    document: OpenApi,
}

impl Interface {
    fn assemble() -> Self {
        let (open, mut document) = open_routes().split_for_parts();
        let (guarded, mut guarded_document) = guarded_routes().split_for_parts();
        document::complete(&mut document, Access::Open);
        document::complete(&mut guarded_document, Access::Guarded);
        document.merge(guarded_document);
        Self { open, guarded, document }
    }
}

/// Router of the whole interface.
pub fn router(app: Arc<App>) -> Router {
    let Interface { open, guarded, document } = Interface::assemble();
    let known = Arc::new(KnownParameters::from_document(&document));
    let guard = from_fn_with_state(app.tokens.clone(), auth::guard);
    let check = from_fn_with_state(known, parameters::check);
    open.route_layer(check.clone())
        .merge(guarded.route_layer(check).route_layer(guard))
        .fallback(envelope::not_found)
        .method_not_allowed_fallback(envelope::method_not_allowed)
        .layer(DefaultBodyLimit::max(body::LIMIT))
        .layer(from_fn_with_state(RequestMeter::new(&app), envelope::wrap))
        .with_state(app)
}

/// The contract document.
#[must_use]
pub fn openapi() -> OpenApi {
    Interface::assemble().document
}

/// The contract document as YAML: the content of `openapi.yaml`.
///
/// # Panics
/// Never: the document is plain data.
#[must_use]
pub fn openapi_yaml() -> String {
    openapi().to_yaml().expect("the document is plain data")
}
