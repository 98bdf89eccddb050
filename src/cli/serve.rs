//! `hearken serve`: assembles a node from its settings, then runs it until a signal stops it.
//!
//! `assemble` is the composition root, the only place that names every concrete type.
//! `running` knows the order in which the parts of a node start and stop.

mod assemble;
mod broker_and_bus;
mod roster;
mod running;

pub(super) use assemble::open_store;
pub(super) use roster::catalog;

use crate::{
    clock::Clock,
    config,
    dispatch::Dispatcher,
    domain::listener::ListenerSpec,
    http::Tokens,
    listeners::{Catalog, hide_panic_messages_of_classes},
    tls,
};
use anyhow::Context;
use assemble::Stops;
use running::{NodeEnd, RunningNode};
use std::{net::TcpListener, sync::Arc};

/// Additions of a program that embeds hearken as a library.
#[derive(Clone, Default)]
pub struct Extras {
    /// Classes of the program.
    pub catalog: Catalog,
    /// Listeners that every node of the program demands.
    pub required: Vec<ListenerSpec>,
    /// Called once the node runs, and again after the log was adopted under a new identity, with
    /// a new dispatcher. The dispatcher lets the program dispatch events and follow keys.
    /// Must return quickly; longer work belongs in a task of its own.
    pub started: Option<Started>,
}

/// Callback of a program for a node that has started.
pub type Started = Arc<dyn Fn(&Dispatcher) + Send + Sync>;

/// Runs a node until a signal stops it. A node whose log was adopted under a new identity is
/// assembled again.
///
/// # Errors
/// The reason why the node could not start. Once the node runs, trouble is a state that the node
/// reports, not an end of the node.
pub async fn serve(settings: config::Serve, extras: Extras, clock: Clock) -> anyhow::Result<()> {
    let (version, mode) = (env!("CARGO_PKG_VERSION"), settings.mode());
    tracing::info!(%mode, "hearken {version} starts in {mode}");
    tls::init();
    hide_panic_messages_of_classes();
    // Bound before anything else is opened, so that a port in use is reported at once.
    let listener = TcpListener::bind(settings.listen)
        .with_context(|| format!("cannot listen on {} (--listen)", settings.listen))?;
    loop {
        let store = assemble::open_store(&settings).await?;
        let tokens = load_tokens(&settings)?;
        let (stops, clock) = (Stops::default(), clock.clone());
        let assembly = assemble::assemble(&settings, &extras, store, tokens, &stops, clock).await?;
        // The socket stays open while the node is assembled again, so that callers wait.
        let (socket, started) = (listener.try_clone()?, extras.started.clone());
        match RunningNode::start(assembly, stops, socket, started)?.run_until_stopped().await? {
            NodeEnd::Stopped => return Ok(()),
            NodeEnd::LogAdopted => tracing::info!(
                "an operator gave the log a new identity; this node starts again with it"
            ),
        }
    }
}

/// Loads the bearer tokens, and logs where a generated one is.
fn load_tokens(settings: &config::Serve) -> anyhow::Result<Tokens> {
    let (admin, read) = (&settings.admin_token_file, &settings.read_token_file);
    let tokens = Tokens::load(admin.as_deref(), read.as_deref(), &settings.data_dir)?;
    if let Some(path) = tokens.generated() {
        let path = path.display();
        tracing::info!(%path, "the administrator's token is in {path}");
        if settings.cluster.is_some() {
            tracing::warn!(
                "only this node knows the generated administrator's token; give all nodes of the cluster the same token with --admin-token-file"
            );
        }
    }
    Ok(tokens)
}
