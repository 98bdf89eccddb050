//! The REST interface. This page is its map; each resource has a file.
//!
//! A request changes intent and may wait for its effect; nothing in here talks to the broker. What
//! a call takes and answers is written beside its handler, becomes `openapi.yaml`, and is held
//! against a running server by the contract test.

pub mod auth;
pub mod body;
pub mod classes;
pub mod dead_letters;
pub mod document;
pub mod envelope;
pub mod events;
pub mod health;
pub mod history;
pub mod listeners;
pub mod nodes;
pub mod notifications;
pub mod parameters;
pub mod precondition;
pub mod probes;
pub mod problem;
pub mod schema;
mod serve;
pub mod tasks;
pub mod topology;

pub use auth::{TokenError, Tokens};
pub use serve::serve;

use crate::{
    bus::EventBus, dispatch::Dispatcher, health::Health, listeners::Catalog, metrics::Metrics,
    node, reconcile, roster::RosterService, store::Store, tasks::Tasks,
};
use axum::{Router, extract::DefaultBodyLimit, middleware::from_fn_with_state};
use parameters::Known;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;
use utoipa::openapi::OpenApi;
use utoipa_axum::{router::OpenApiRouter, routes};

/// What the handlers work with.
pub struct App {
    /// The database.
    pub store: Store,
    /// The roster.
    pub roster: Arc<RosterService>,
    /// The way to the reconciler.
    pub reconciler: reconcile::Handle,
    /// Where events go.
    pub bus: Arc<dyn EventBus>,
    /// Takes events.
    pub dispatcher: Dispatcher,
    /// The classes this node knows.
    pub catalog: Catalog,
    /// Longer work.
    pub tasks: Tasks,
    /// The components' state.
    pub health: Health,
    /// This node.
    pub node: node::ThisNode,
    /// Counters.
    pub metrics: Arc<Metrics>,
    /// Who may ask.
    pub tokens: Tokens,
    /// Ends streams and waits when the node stops.
    pub stop: CancellationToken,
}

type Routes = OpenApiRouter<Arc<App>>;

/// What everybody may call.
fn open() -> Routes {
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

/// What needs a token.
fn guarded() -> Routes {
    OpenApiRouter::with_openapi(document::start())
        .routes(routes!(listeners::list, listeners::add))
        .routes(routes!(listeners::show, listeners::remove))
        .routes(routes!(history::history))
        .routes(routes!(classes::classes))
        .routes(routes!(topology::topology, topology::reconcile))
        .routes(routes!(topology::migrate_queue, topology::delete_queue))
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
        .routes(routes!(tasks::list))
        .routes(routes!(tasks::show, tasks::cancel))
        .routes(routes!(tasks::wait))
}

/// The routes without and with a token, and the document of both.
fn parts() -> (Router<Arc<App>>, Router<Arc<App>>, OpenApi) {
    let (open, mut document) = open().split_for_parts();
    let (guarded, mut rest) = guarded().split_for_parts();
    document::complete(&mut document, false);
    document::complete(&mut rest, true);
    document.merge(rest);
    (open, guarded, document)
}

/// The whole interface.
pub fn router(app: Arc<App>) -> Router {
    let (open, guarded, document) = parts();
    let known = Arc::new(Known::of(&document));
    let guard = from_fn_with_state(app.tokens.clone(), auth::guard);
    let check = from_fn_with_state(known, parameters::check);
    open.route_layer(check.clone())
        .merge(guarded.route_layer(check).route_layer(guard))
        .fallback(envelope::not_found)
        .method_not_allowed_fallback(envelope::method_not_allowed)
        .layer(DefaultBodyLimit::max(body::LIMIT))
        .layer(from_fn_with_state(Arc::clone(&app.metrics), envelope::wrap))
        .with_state(app)
}

/// The contract.
#[must_use]
pub fn openapi() -> OpenApi {
    parts().2
}

/// The contract as `openapi.yaml` has it.
///
/// # Panics
/// Never: the document is plain data.
#[must_use]
pub fn openapi_yaml() -> String {
    openapi().to_yaml().expect("the document is plain data")
}
