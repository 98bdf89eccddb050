//! Passes that end in the middle.

use crate::support::{
    node::{Node, Services, Setup},
    proxy::{Proxy, Wire, port_of},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

/// The newest recorded pass that declares a queue of the group.
async fn pass_for(node: &Node, group: &str) -> Option<Value> {
    let page = node.get("/topology/passes").await;
    let queue = format!(".work.{group}.v1");
    let names_queue = |pass: &&Value| {
        let mut steps = pass["steps"].as_array().into_iter().flatten();
        steps.any(|step| step["name"].as_str().is_some_and(|name| name.ends_with(&queue)))
    };
    page["passes"].as_array().expect("passes").iter().rev().find(names_queue).cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pass_that_is_killed_after_it_changed_the_broker_leaves_its_intent() {
    let (services, host) = Services::fresh().await;
    let wire = Proxy::before(port_of(&services.amqp)).await;
    let wired = Services { amqp: wire.through(&services.amqp), ..services.clone() };
    let mut first = Setup::cluster("first", &wired).start().await;
    first.wait_topology("converged").await;

    // The broker does what the pass asks for, and the pass learns that later.
    wire.set(Wire::Delay(Duration::from_millis(1_500)));
    let listener = json!({"class": "log", "group": "a"});
    let answer = first.call(Method::POST, "/listeners", Some(listener)).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    wait::until("the broker has the queue", async || {
        let queues = host.api(Method::GET, &format!("queues/{}", host.name), None).await;
        let names = queues.as_array()?.iter().filter_map(|queue| queue["name"].as_str());
        names.filter(|name| name.ends_with(".work.a.v1")).count().eq(&1).then_some(())
    })
    .await;
    let running = pass_for(&first, "a").await.expect("the pass is recorded before it ends");
    assert_eq!(running["state"], "running", "{running}");
    assert_eq!(running["steps"][0]["outcome"], "started", "{running}");
    assert!(running.get("finishedAt").is_none(), "{running}");
    first.kill();

    let second = Setup::cluster("second", &services).start().await;
    let interrupted = wait::until("the next holder of the lease closes the record", async || {
        let page = second.get("/topology/passes").await;
        let mut passes = page["passes"].as_array().expect("passes").iter();
        let pass = passes.find(|pass| pass["id"] == running["id"]).expect("the pass is kept");
        (pass["state"] == "interrupted").then(|| pass.clone())
    })
    .await;
    assert_eq!(interrupted["node"]["id"], "first");
    assert_eq!(interrupted["steps"], running["steps"]);
    assert!(interrupted["finishedAt"].is_string(), "{interrupted}");
    second.wait_listener("a", "running").await;
    second.wait_topology("converged").await;
}
