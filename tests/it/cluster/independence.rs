//! A listener that cannot be satisfied delays no other listener, and fills no record.

use crate::support::{
    node::{Node, Services, Setup},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

const FILE: &str = r#"
[[bus]]
name = "james"
exchange = "never-declared"
codec = "james"
attached = true
"#;

/// Number of passes whose record stays. The record of a pass that runs is removed if the pass
/// changes nothing.
async fn records(node: &Node) -> usize {
    let passes = node.get("/topology/passes?limit=1000").await;
    let passes = passes["passes"].as_array().expect("a list");
    passes.iter().filter(|pass| pass["state"] != "running").count()
}

/// Number of passes that this node made, with any outcome.
async fn passes_made(node: &Node) -> u64 {
    let metrics = node.call(Method::GET, "/metrics", None).await.body;
    let metrics = metrics.as_str().expect("text").to_owned();
    let counts = metrics.lines().filter(|line| line.starts_with("hearken_passes_total"));
    let value = |line: &str| line.rsplit(' ').next().and_then(|text| text.parse::<u64>().ok());
    counts.filter_map(value).sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_whose_exchange_is_missing_holds_up_no_other_listener() {
    let (services, _host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).with_file(FILE).start().await;
    let stuck = json!({"class": "log", "group": "stuck", "bus": "james"});
    let answer = node.call(Method::POST, "/listeners?wait=2s", Some(stuck)).await;
    assert_eq!((answer.status.as_u16(), &answer.body["topology"]), (201, &json!("pending")));

    for group in ["a", "b", "c"] {
        node.add(json!({"class": "log", "group": group})).await;
        node.wait_listener(group, "running").await;
    }
    node.remove("b", "keep").await;
    let stuck = node.get("/listeners/stuck").await;
    assert_eq!(stuck["topology"], "pending", "{stuck}");
    let blocked = &stuck["conditions"][1];
    assert_eq!((&blocked["type"], &blocked["reason"]), (&json!("Blocked"), &json!("refused")));
    let words = blocked["message"].as_str().unwrap_or_default();
    assert!(words.contains("never-declared"), "{stuck}");
    let listed = node.get("/listeners").await;
    let ready = |listener: &Value| listener["conditions"][0]["status"] == "true";
    let listeners = listed["listeners"].as_array().expect("a list");
    let ready: Vec<_> = listeners.iter().filter(|listener| ready(listener)).collect();
    assert_eq!(ready.len(), 2, "{listed}");
    let health = node.get("/healthcheck/checks/Listener%20topology").await;
    let cause = health["cause"].as_str().unwrap_or_default();
    assert!(health["status"] == "degraded" && cause.contains("never-declared"), "{health}");

    // Passes go on, and the failure that is known makes no further record.
    let (recorded, made) = (records(&node).await, passes_made(&node).await);
    wait::until("more passes were made", async || {
        (passes_made(&node).await >= made + 4).then_some(())
    })
    .await;
    assert_eq!(records(&node).await, recorded);
    let warnings = node.log().matches("could not bind").count();
    assert_eq!(warnings, 1, "{}", node.log());
}
