//! Metrics that are true on every node.

use crate::support::{
    node::{Node, Services, Setup},
    wait,
};
use serde_json::json;
use std::time::Duration;

/// Value of a series on a node.
async fn value(node: &Node, series: &str) -> Option<f64> {
    let text = node.get("/metrics").await;
    let text = text.as_str().expect("metrics are text");
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '))?;
    line.parse().ok()
}

/// Waits until a series on a node has a value that fits.
async fn until(node: &Node, series: &str, fits: impl Fn(f64) -> bool) {
    let last = std::cell::Cell::new(None);
    let ask = async || {
        last.set(value(node, series).await);
        last.get().filter(|value| fits(*value)).map(drop)
    };
    let what = || format!("{series} on {}, which is {:?}", node.setup.id, last.get());
    wait::explained(Duration::from_secs(40), ask, what).await;
}

fn is_one(value: f64) -> bool {
    (value - 1.0).abs() < f64::EPSILON
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_tells_the_state_of_the_cluster_whichever_node_made_the_pass() {
    let (services, host) = Services::fresh().await;
    let manual = ["--reconcile", "manual"];
    let one = Setup::cluster("one", &services).with(&manual).start().await;
    let two = Setup::cluster("two", &services).with(&manual).start().await;
    one.add(json!({"class": "log", "group": "a"})).await;
    let converged = "hearken_cluster_topology_state{state=\"converged\"}";
    for node in [&one, &two] {
        until(node, converged, is_one).await;
        until(node, "hearken_cluster_reconciled_version", is_one).await;
        until(node, "hearken_roster_version", is_one).await;
        until(node, "hearken_tail_lag", |value| value == 0.0).await;
        until(node, "hearken_node_state{state=\"ready\"}", is_one).await;
        until(node, "hearken_listeners{state=\"running\"}", is_one).await;
        until(node, "hearken_cluster_last_pass_timestamp_seconds", |value| value > 1e9).await;
        until(node, "hearken_cluster_records{record=\"pass\"}", |value| value >= 1.0).await;
        until(node, "hearken_database_connections_limit", |value| value > 1.0).await;
        until(node, "hearken_management_requests_total{outcome=\"answered\"}", |v| v > 0.0).await;
        until(node, "hearken_management_duration_seconds_count", |value| value > 0.0).await;
        until(node, "process_resident_memory_bytes", |value| value > 1e6).await;
        until(node, "process_open_fds", |value| value > 3.0).await;
        until(node, "process_cpu_seconds_total", |value| value > 0.0).await;
        let route = "hearken_http_duration_seconds_count{route=\"/metrics\"}";
        until(node, route, |value| value > 0.0).await;
    }
    host.delete_if_there(&format!(
        "bindings/{}/e/hearken.mailboxEvent/q/hearken.mailboxEvent.work.a.v1/~",
        host.name
    ))
    .await;
    for node in [&one, &two] {
        until(node, "hearken_cluster_drift{kind=\"missing\"}", is_one).await;
        until(node, converged, |value| value == 0.0).await;
        until(node, "hearken_cluster_oldest_drift_seconds", |value| value > 5.0).await;
    }
    two.call(reqwest::Method::POST, "/topology?action=reconcile", None).await;
    for node in [&one, &two] {
        until(node, "hearken_cluster_drift{kind=\"missing\"}", |value| value == 0.0).await;
        until(node, "hearken_cluster_oldest_drift_seconds", |value| value == 0.0).await;
        until(node, converged, is_one).await;
    }
}
