//! Changes that people make to a broker by hand, and what hearken does about them.

use crate::support::{
    node::{Node, Services, Setup},
    services::VirtualHost,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

pub(super) const WORK: &str = "hearken.mailboxEvent.work.a.v1";

async fn with_listener(flags: &[&str]) -> (Node, VirtualHost, Services) {
    let (services, host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).with(flags).start().await;
    node.add(json!({"class": "log", "group": "a"})).await;
    node.wait_listener("a", "running").await;
    (node, host, services)
}

pub(super) async fn names(host: &VirtualHost, what: &str) -> Vec<String> {
    let listed = host.api(Method::GET, &format!("{what}/{}", host.name), None).await;
    let name = |object: &Value| {
        let text = |key: &str| object[key].as_str().unwrap_or_default().to_owned();
        if what == "bindings" {
            format!("{}>{}>{}", text("source"), text("destination"), text("routing_key"))
        } else {
            text("name")
        }
    };
    listed.as_array().unwrap().iter().map(name).collect()
}

async fn back(host: &VirtualHost, what: &str, name: &str) {
    wait::until(&format!("{name} is back"), async || {
        names(host, what).await.contains(&name.to_owned()).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_a_binding_and_an_exchange_deleted_by_hand_come_back_and_events_flow() {
    let (node, host, _) = with_listener(&[]).await;
    let vhost = &host.name;

    host.api(Method::DELETE, &format!("bindings/{vhost}/e/hearken.mailboxEvent/q/{WORK}/~"), None)
        .await;
    back(&host, "bindings", &format!("hearken.mailboxEvent>{WORK}>")).await;

    host.api(Method::DELETE, &format!("queues/{vhost}/{WORK}"), None).await;
    back(&host, "queues", WORK).await;
    back(&host, "bindings", &format!("hearken.mailboxEvent>{WORK}>")).await;
    back(&host, "bindings", &format!("hearken.mailboxEvent.return>{WORK}>a")).await;

    host.api(Method::DELETE, &format!("exchanges/{vhost}/hearken.mailboxEvent"), None).await;
    back(&host, "exchanges", "hearken.mailboxEvent").await;
    back(&host, "bindings", &format!("hearken.mailboxEvent>{WORK}>")).await;

    node.wait_topology("converged").await;
    node.wait_listener("a", "running").await;
    assert_eq!(node.send("mailboxEvent", "after").await.status, 202);
    let passes = node.get("/topology/passes?limit=1000").await;
    let text = passes.to_string();
    assert!(
        text.contains("the queue is missing") && text.contains("the exchange is missing"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_under_its_consumer_is_missed_at_once_with_any_interval() {
    let (services, host) = Services::fresh().await;
    let mut setup = Setup::cluster("one", &services);
    setup.flags = vec!["--reconcile-interval".into(), "1h".into()];
    let node = setup.start().await;
    node.add(json!({"class": "log", "group": "a"})).await;
    node.wait_listener("a", "running").await;
    host.api(Method::DELETE, &format!("queues/{}/{WORK}", host.name), None).await;
    back(&host, "queues", WORK).await;
    node.wait_listener("a", "running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn foreign_objects_with_our_prefix_are_shown_and_never_touched() {
    let (node, host, _) = with_listener(&[]).await;
    let vhost = &host.name;
    let queue = json!({"durable": true, "arguments": {}});
    host.api(Method::PUT, &format!("queues/{vhost}/hearken.mine"), Some(queue)).await;
    let binding = json!({"routing_key": ""});
    host.api(
        Method::POST,
        &format!("bindings/{vhost}/e/hearken.mailboxEvent/q/hearken.mine"),
        Some(binding),
    )
    .await;

    let drift = wait::until("the foreign queue is shown", async || {
        let topology = node.get("/topology").await;
        let drift = topology["drift"].as_array()?.clone();
        drift.into_iter().find(|drift| drift["name"] == "hearken.mine")
    })
    .await;
    assert_eq!((&drift["kind"], &drift["remedy"]), (&json!("foreign"), &json!("report")));
    let task = node.call(Method::POST, "/topology?action=reconcile", None).await;
    assert_eq!(task.status, 201, "{}", task.body);
    let id = task.body["taskId"].as_str().unwrap();
    node.get(&format!("/tasks/{id}/await?timeout=30s")).await;
    assert!(names(&host, "queues").await.contains(&"hearken.mine".to_owned()));
    assert!(
        names(&host, "bindings").await.contains(&"hearken.mailboxEvent>hearken.mine>".to_owned())
    );
    assert_eq!(node.topology_state().await, "converged");
    let refused = node.call(Method::DELETE, "/topology/queues/hearken.mine?force=true", None).await;
    assert_eq!(refused.status, 403, "{}", refused.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_manual_mode_drift_is_left_until_an_operator_asks() {
    let (node, host, _) = with_listener(&["--reconcile", "manual"]).await;
    host.api(Method::DELETE, &format!("queues/{}/{WORK}", host.name), None).await;
    node.wait_topology("drifted").await;
    let plan = node.call(Method::POST, "/topology?action=reconcile&dryRun=true", None).await;
    assert_eq!(plan.status, 200, "{}", plan.body);
    assert_eq!(plan.body["steps"][0]["action"], "declare");
    assert!(
        !names(&host, "queues").await.contains(&WORK.to_owned()),
        "a dry run changed the broker"
    );

    let task = node.call(Method::POST, "/topology?action=reconcile", None).await;
    let id = task.body["taskId"].as_str().unwrap().to_owned();
    let report = node.get(&format!("/tasks/{id}/await?timeout=30s")).await;
    assert_eq!(report["status"], "completed", "{report}");
    back(&host, "queues", WORK).await;
    node.wait_topology("converged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_virtual_host_stops_repair_until_an_operator_says_rebuild() {
    let (node, host, _) = with_listener(&[]).await;
    host.api(Method::DELETE, &format!("vhosts/{}", host.name), None).await;
    host.api(Method::PUT, &format!("vhosts/{}", host.name), Some(json!({}))).await;
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    host.api(Method::PUT, &format!("permissions/{}/guest", host.name), Some(all)).await;

    node.wait_topology("blocked").await;
    assert!(!names(&host, "queues").await.contains(&WORK.to_owned()));
    let health = node.call(Method::GET, "/healthcheck/checks/Listener%20topology", None).await;
    assert_eq!(health.status, 503);
    assert!(health.body["cause"].as_str().unwrap().contains("action=rebuild"), "{}", health.body);
    let pending =
        node.call(Method::POST, "/listeners", Some(json!({"class": "log", "group": "b"}))).await;
    assert_eq!((pending.status.as_u16(), &pending.body["topology"]), (201, &json!("pending")));

    let task = node.call(Method::POST, "/topology?action=rebuild", None).await;
    let id = task.body["taskId"].as_str().unwrap().to_owned();
    let report = node.get(&format!("/tasks/{id}/await?timeout=30s")).await;
    assert_eq!(report["status"], "completed", "{report}");
    back(&host, "queues", WORK).await;
    node.wait_topology("converged").await;
    node.wait_listener("a", "running").await;
    node.wait_listener("b", "running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_clusters_virtual_host_is_not_touched() {
    let (_, host, services) = with_listener(&[]).await;
    let (other, _) = Services::fresh().await;
    let mixed = Services { database: other.database, ..services };
    let node = Setup::cluster("stranger", &mixed).start().await;
    node.wait_topology("blocked").await;
    let health = node.call(Method::GET, "/healthcheck/checks/Listener%20topology", None).await;
    assert!(health.body["cause"].as_str().unwrap().contains("--prefix"), "{}", health.body);
    let answer =
        node.call(Method::POST, "/listeners", Some(json!({"class": "log", "group": "z"}))).await;
    assert_eq!(answer.body["topology"], "pending");
    let task = node.call(Method::POST, "/topology?action=rebuild", None).await;
    let id = task.body["taskId"].as_str().unwrap().to_owned();
    let report = node.get(&format!("/tasks/{id}/await?timeout=30s")).await;
    assert_eq!(report["status"], "failed", "{report}");
    assert!(!names(&host, "queues").await.iter().any(|name| name.contains(".z.")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_other_arguments_is_reported_and_migrated_on_request_without_loss() {
    let (services, host) = Services::fresh().await;
    let receiver = crate::support::receiver::Receiver::start().await;
    let node = Setup::cluster("one", &services).start().await;
    node.add(receiver.listener("a")).await;
    node.wait_listener("a", "running").await;
    let classic = json!({"queueType": "classic", "reason": "CHG-1"});
    let changed = node.call(Method::PUT, "/cluster", Some(classic)).await;
    assert_eq!(changed.status, 200, "{}", changed.body);
    let follow_up = changed.body["followUp"].as_str().unwrap_or_default();
    assert!(follow_up.contains("action=migrate"), "{}", changed.body);
    node.wait_topology("drifted").await;
    let drift = node.get("/topology").await["drift"].clone();
    let entries: Vec<_> = drift.as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(entries, [WORK], "only the work queue differs: {drift}");
    assert_eq!(node.send("mailboxEvent", "before").await.status, 202);
    let task =
        node.call(Method::POST, &format!("/topology/queues/{WORK}?action=migrate"), None).await;
    assert_eq!(task.status, 201, "{}", task.body);
    let id = task.body["taskId"].as_str().unwrap().to_owned();
    assert_eq!(node.send("mailboxEvent", "during").await.status, 202);
    let report = node.get(&format!("/tasks/{id}/await?timeout=60s")).await;
    assert_eq!(report["status"], "completed", "{report}");
    assert_eq!(node.send("mailboxEvent", "after").await.status, 202);
    for id in ["before", "during", "after"] {
        receiver.wait_for(id).await;
    }
    back(&host, "queues", "hearken.mailboxEvent.work.a.v2").await;
    wait::within(std::time::Duration::from_mins(2), "the old queue is deleted", async || {
        (!names(&host, "queues").await.contains(&WORK.to_owned())).then_some(())
    })
    .await;
}
