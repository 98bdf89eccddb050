//! Settings of the cluster: the first node gives them, and every node follows their change.

use super::drift::{WORK, names};
use crate::support::{
    node::{Answer, Node, Services, Setup},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

const HEALTH: &str = "/healthcheck/checks/Listeners%20on%20this%20node";

async fn put(node: &Node, body: Value) -> Answer {
    node.call(Method::PUT, "/cluster", Some(body)).await
}

/// Waits until the cluster names these differences, as node and settings.
async fn wait_differences(node: &Node, expected: Value) {
    wait::until(&format!("the differences are {expected}"), async || {
        (node.get("/cluster").await["differences"] == expected).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_start_at_once_one_decides_and_the_other_follows() {
    let (services, host) = Services::fresh().await;
    let flags = ["--queue-type", "classic", "--reconcile", "manual"];
    let mut one = Setup::cluster("one", &services).with(&flags).launch();
    let flags = ["--queue-type", "quorum", "--reconcile", "auto"];
    let mut two = Setup::cluster("two", &services).with(&flags).launch();
    one.wait_ready().await;
    two.wait_ready().await;

    let cluster = one.get("/cluster").await;
    let first = cluster["changedBy"].as_str().unwrap().to_owned();
    let (first, second) = if first == "node:one" { (&one, &two) } else { (&two, &one) };
    let mode = if first.setup.id == "one" { "manual" } else { "auto" };
    assert_eq!((&cluster["reconcile"], &cluster["changedIn"]), (&json!(mode), &json!(0)));
    let other = second.setup.id.as_str();
    let settings = ["queue-type", "reconcile"];
    wait_differences(first, json!([{"node": other, "settings": settings}])).await;

    second.add(json!({"class": "log", "group": "a"})).await;
    let queue = host.api(Method::GET, &format!("queues/{}/{WORK}", host.name), None).await;
    assert_eq!(queue["type"], cluster["queueType"], "{queue}");
    for node in [first, second] {
        assert_eq!(node.topology_state().await, "converged");
    }
    assert_eq!(first.get(HEALTH).await["status"], "healthy");
    let health = second.get(HEALTH).await;
    let cause = health["cause"].as_str().unwrap_or_default();
    assert!(health["status"] == "degraded" && cause.contains("queue-type, reconcile"), "{health}");
    let log = second.log();
    assert_eq!(log.matches("another value of queue-type").count(), 1, "{log}");
    assert!(!first.log().contains("another value"), "{}", first.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_node_follows_a_change_of_the_settings_without_a_restart() {
    let (services, host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let mut two = Setup::cluster("two", &services);
    two.flags.clear();
    let two = two.start().await;
    one.add(json!({"class": "log", "group": "a"})).await;
    wait_differences(&one, json!([])).await;

    let manual = json!({"reconcile": "manual", "reason": "CHG-1"});
    let changed = put(&two, manual).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    assert_eq!(changed.headers["etag"], "\"2\"");
    let audit = (&changed.body["changedBy"], &changed.body["reason"], &changed.body["changedIn"]);
    assert_eq!(audit, (&json!("admin"), &json!("CHG-1"), &json!(2)));
    wait::until("node one has the change", async || {
        (one.get("/cluster").await["reconcile"] == "manual").then_some(())
    })
    .await;
    host.api(Method::DELETE, &format!("queues/{}/{WORK}", host.name), None).await;
    one.wait_topology("drifted").await;
    assert!(!names(&host, "queues").await.contains(&WORK.to_owned()), "no node repairs");

    assert_eq!(put(&one, json!({"reconcile": "auto"})).await.status, 200);
    one.wait_topology("converged").await;
    assert!(names(&host, "queues").await.contains(&WORK.to_owned()));
    let history = two.get("/listeners/history?after=1").await;
    let event = &history["events"][0];
    assert_eq!((&event["type"], &event["actor"]), (&json!("ClusterChanged"), &json!("admin")));
    assert_eq!(event["cluster"]["reconcile"], "manual", "{event}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_with_another_prefix_runs_with_the_prefix_of_the_cluster() {
    let (services, host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).with(&["--prefix", "mail"]).start().await;
    let two = Setup::cluster("two", &services).with(&["--prefix", "other"]).start().await;
    two.add(json!({"class": "log", "group": "a"})).await;
    assert!(names(&host, "queues").await.contains(&"mail.mailboxEvent.work.a.v1".to_owned()));
    assert!(!names(&host, "exchanges").await.iter().any(|name| name.starts_with("other.")));
    wait_differences(&one, json!([{"node": "two", "settings": ["prefix"]}])).await;
    assert_eq!(two.send("mailboxEvent", "e1").await.status, 202);
    let refused = put(&one, json!({"prefix": "other"})).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("start a new cluster"), "{detail}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_embedded_node_keeps_its_settings_over_a_restart() {
    let setup = Setup::embedded("solo").with(&["--retain-tasks", "2d,7"]);
    let mut node = setup.clone().start().await;
    assert_eq!(put(&node, json!({"reconcileInterval": "3s"})).await.status, 200);
    node.terminate().await;
    let node = setup.with(&["--retain-passes", "2d,7"]).start().await;
    let cluster = node.get("/cluster").await;
    assert_eq!(cluster["retention"]["tasks"], json!({"age": "2d", "count": 7}), "{cluster}");
    assert_eq!(cluster["retention"]["passes"]["count"], 10_000, "{cluster}");
    assert_eq!(cluster["reconcileInterval"], "3s");
    let differing = json!([{"node": "solo", "settings": ["reconcile-interval", "retain-passes"]}]);
    wait_differences(&node, differing).await;
}
