//! Nodes that differ: a class that one knows and another does not (James ADR 35,
//! "rolling upgrade").
//!
//! The newer version is the example program, which brings a class of its own.

use crate::support::{
    node::{Node, Services, Setup},
    wait,
};
use reqwest::Method;
use serde_json::json;
use std::path::PathBuf;

const OWN: &str = "own-counter";

/// The example program, built beside the one under test.
fn newer() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_hearken"));
    let example = program.with_file_name("examples").join("own_listener");
    assert!(example.exists(), "{} is not built: cargo build --examples", example.display());
    example
}

fn upgraded(id: &str, services: &Services) -> Setup {
    Setup { program: newer(), ..Setup::cluster(id, services) }
}

async fn cause_of(node: &Node, component: &str) -> String {
    let path = format!("/healthcheck/checks/{}", component.replace(' ', "%20"));
    let check = node.call(Method::GET, &path, None).await;
    format!("{} {}", check.body["status"], check.body["cause"])
}

#[tokio::test(flavor = "multi_thread")]
async fn old_nodes_go_on_and_say_that_they_cannot_run_a_listener_of_a_new_version() {
    let (services, _host) = Services::fresh().await;
    let old = Setup::cluster("old", &services).start().await;
    old.add(json!({"class": "log", "group": "common"})).await;
    let new = upgraded("new", &services).start().await;
    new.wait_listener(OWN, "running").await;

    old.wait_listener(OWN, "unknown-class").await;
    old.wait_listener("common", "running").await;
    wait::until("health tells it", async || {
        let told = cause_of(&old, "Listeners on this node").await;
        (told.contains("degraded") && told.contains(OWN)).then_some(())
    })
    .await;
    assert_eq!(old.call(Method::GET, "/readyz", None).await.status, 200);
    assert_eq!(old.call(Method::GET, "/readyz?strict", None).await.status, 503);
    let errors =
        old.log().lines().filter(|line| line.contains("ERROR") && line.contains(OWN)).count();
    assert_eq!(errors, 1, "one error per node and listener:\n{}", old.log());
    // Its events wait for the nodes that can run it.
    assert_eq!(old.send("mailboxEvent", "e").await.status, 202);
    wait::until("the new node runs it", async || {
        let metrics = new.get("/metrics").await;
        let line = format!("hearken_handled_total{{bus=\"mailboxEvent\",group=\"{OWN}\"}} 1");
        metrics.as_str()?.contains(&line).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_started_with_an_unknown_class_is_degraded_until_the_class_is_removed() {
    let (services, _host) = Services::fresh().await;
    let mut new = upgraded("new", &services).start().await;
    new.wait_listener(OWN, "running").await;
    new.terminate().await;

    let mut old = Setup::cluster("old", &services).launch();
    old.wait_status("/livez", 200).await;
    old.wait_listener(OWN, "unknown-class").await;
    wait::until("it is degraded", async || {
        let nodes = old.get("/nodes").await;
        let me = nodes["nodes"].as_array()?.iter().find(|node| node["id"] == "old")?.clone();
        (me["state"] == "degraded").then_some(())
    })
    .await;
    assert_eq!(old.call(Method::GET, "/readyz", None).await.status, 200);
    assert_eq!(old.call(Method::GET, "/readyz?strict", None).await.status, 503);
    old.add(json!({"class": "log", "group": "other"})).await;
    old.wait_listener("other", "running").await;

    old.remove(OWN, "keep").await;
    old.wait_status("/readyz?strict", 200).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_listener_that_a_new_version_drops_stays_until_it_is_removed() {
    let (services, _host) = Services::fresh().await;
    let old = upgraded("old", &services).start().await;
    old.wait_listener(OWN, "running").await;
    let new = Setup::cluster("new", &services).launch();
    let mut new = new;
    new.wait_status("/livez", 200).await;
    let refused = old.call(Method::DELETE, &format!("/listeners/{OWN}"), None).await;
    assert_eq!(refused.status, 409, "the old version still requires it: {}", refused.body);
    new.wait_listener(OWN, "unknown-class").await;
    let shown = new.get(&format!("/listeners/{OWN}")).await;
    assert_eq!(shown["required"], false);

    new.remove(OWN, "keep").await;
    new.wait_status("/readyz?strict", 200).await;
    let history = new.get("/listeners/history").await;
    assert_eq!(history["events"].as_array().unwrap().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_cannot_start_degrades_its_node_until_the_cause_is_gone() {
    let (services, _host) = Services::fresh().await;
    let mut node = Setup::cluster("one", &services).start().await;
    let secret = node.setup.secrets().join("signature");
    let configuration = json!({
        "url": "http://127.0.0.1:9/hook",
        "secret": {"file": "signature"},
    });
    let listener = json!({"class": "webhook", "group": "signed", "configuration": configuration});
    node.add(listener).await;
    node.wait_listener("signed", "failed").await;
    wait::until("health tells it", async || {
        cause_of(&node, "Listeners on this node").await.contains("signed").then_some(())
    })
    .await;
    std::fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    node.wait_status("/readyz?strict", 200).await;
    let stored = node.get("/listeners/signed").await;
    assert!(stored["configuration"]["secret"]["file"].is_string(), "{stored}");
}
