//! What health says of a cluster, and that saying it does nothing.

use crate::support::{
    node::{Services, Setup},
    wait,
};
use lapin::{ConnectionProperties, options::BasicGetOptions};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn the_wait_of_an_event_without_consumer_is_told_and_telling_changes_nothing() {
    let (services, host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    let missing = json!({"file": "missing"});
    let configuration = json!({"url": "http://127.0.0.1:9/hook", "secret": missing});
    node.add(json!({"class": "webhook", "group": "idle", "configuration": configuration})).await;
    node.wait_listener("idle", "failed").await;
    node.wait_topology("converged").await;
    assert_eq!(node.send("mailboxEvent", "e1").await.status, 202);

    let check = "/healthcheck/checks/Event%20bus%20consumers";
    let told = wait::until("the broker remembers how long it waits", async || {
        let cause = node.get(check).await["cause"].as_str()?.to_owned();
        cause.contains("the oldest for at least").then_some(cause)
    })
    .await;
    assert!(told.starts_with("no consumer for idle (1 event waits, the oldest"), "{told}");
    wait::until("it has waited for some seconds", async || {
        let backlog = node.get("/listeners/idle").await["backlog"].clone();
        assert_eq!((&backlog["ready"], &backlog["consumers"]), (&json!(1), &json!(0)));
        backlog["oldestSeconds"].as_u64().filter(|seconds| *seconds >= 5)
    })
    .await;

    let definitions = format!("definitions/{}", host.name);
    let state = async || {
        let definitions = host.api(Method::GET, &definitions, None).await;
        let (passes, roster) = (node.get("/topology/passes").await, node.get("/listeners").await);
        [definitions, passes["passes"].clone(), roster]
    };
    let before = state().await;
    let names = node.get("/healthcheck/checks").await;
    let names: Vec<&str> = names.as_array().unwrap().iter().filter_map(name).collect();
    assert!(names.len() >= 8, "{names:?}");
    for _ in 0..10 {
        node.call(Method::GET, "/healthcheck", None).await;
        for name in &names {
            let path = format!("/healthcheck/checks/{}", name.replace(' ', "%20"));
            node.call(Method::GET, &path, None).await;
        }
    }
    assert_eq!(state().await, before);
    let plain = lapin::Connection::connect(&host.amqp, ConnectionProperties::default());
    let channel = plain.await.unwrap().create_channel().await.unwrap();
    let queue = "hearken.mailboxEvent.work.idle.v1".into();
    let event = channel.basic_get(queue, BasicGetOptions::default()).await.unwrap().unwrap();
    assert!(!event.delivery.redelivered, "no consumer took the event to look at it");
}

fn name(component: &Value) -> Option<&str> {
    component["componentName"].as_str()
}
