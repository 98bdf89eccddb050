//! The roster of a starting node: its classes, and the buses and listeners that it demands.

use super::Extras;
use crate::{
    clock::Clock,
    config,
    domain::{
        event::NodeRef,
        layout::{Flavor, Layout},
        listener::ListenerSpec,
    },
    listeners::{
        Catalog, built_in,
        secrets::SecretSources,
        webhook::policy::{WebhookPolicy, parse_allow},
    },
    metrics::Metrics,
    node::{add_buses, add_required},
    roster::{RosterConfig, RosterService},
    store::Store,
};
use anyhow::Context;
use std::sync::Arc;

/// Reads the roster from the log, and adds the buses and the required listeners of this node. The
/// first node of a cluster gives the cluster its settings; every later node runs with them.
pub(super) async fn load_roster(
    settings: &config::Serve,
    extras: &Extras,
    store: &Store,
    metrics: &Arc<Metrics>,
    clock: &Clock,
) -> anyhow::Result<Arc<RosterService>> {
    let node = NodeRef { id: settings.node_id.clone(), host: config::host_name() };
    let required: Vec<ListenerSpec> =
        settings.required.iter().chain(&extras.required).cloned().collect();
    let own_settings = settings.node_settings();
    let author = format!("node:{}", node.id);
    let founding = store.found_cluster(&own_settings.values, &author).await;
    let founding = founding.context("the settings of the cluster cannot be read")?;
    let layout = Layout {
        prefix: founding.settings.prefix.clone(),
        cluster: store.cluster_id(),
        log: store.log_id(),
        queue_type: founding.settings.queue_type,
        parked_type: founding.settings.queue_type,
        flavor: if settings.cluster.is_some() { Flavor::RabbitMq } else { Flavor::Local },
    };
    let here = RosterConfig {
        node,
        catalog: catalog(settings, extras, clock)?,
        required: (required.iter().cloned())
            .map(|listener| (listener.group.clone(), listener))
            .collect(),
        buses: settings.buses.clone(),
        founding,
        own_settings,
        layout,
        clock: clock.clone(),
    };
    let roster = Arc::new(RosterService::new(store.clone(), here, Arc::clone(metrics)));
    roster.current().await.context("the roster cannot be read")?;
    warn_of_differing_settings(&roster);
    add_buses(&roster).await.context("the buses cannot be added")?;
    add_required(&roster, &required).await.context("the required listeners cannot be added")?;
    Ok(roster)
}

/// Logs the settings for which the cluster has another value than this node's configuration.
fn warn_of_differing_settings(roster: &RosterService) {
    for setting in roster.differing_settings() {
        let name = setting.name();
        tracing::warn!(
            setting = name,
            "the cluster has another value of {name} than the configuration of this node; the cluster's value holds (hearken cluster show); change the cluster (hearken cluster set) or the configuration of this node"
        );
    }
}

/// Classes that a node of these settings can run.
pub(in crate::cli) fn catalog(
    settings: &config::Serve,
    extras: &Extras,
    clock: &Clock,
) -> anyhow::Result<Catalog> {
    let allow = parse_allow(&settings.webhook_allow.join(","))
        .map_err(|wrong| anyhow::anyhow!("--webhook-allow: {wrong}"))?;
    let policy = WebhookPolicy {
        allow,
        // A caller that reaches hearken on loopback reaches the machine's other services, too.
        loopback: settings.listen.ip().is_loopback(),
        private: settings.cluster.is_none(),
    };
    let secrets = SecretSources::new(settings.secrets_dir.clone());
    Ok(built_in(policy, clock.clone()).merged(&extras.catalog).with_secrets(secrets))
}
