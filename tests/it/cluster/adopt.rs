//! `hearken adopt`: a database that was restored, and a database that was lost.

use super::drift::names;
use crate::{
    cli::{Ended, end, hearken},
    support::{
        node::{Node, Services, Setup},
        receiver::Receiver,
        services, wait,
    },
};
use reqwest::Method;
use serde_json::{Value, json};

/// Runs `hearken adopt` with the settings of a cluster.
fn adopt(services: &Services, flags: &[&str]) -> Ended {
    let directory = tempfile::tempdir().expect("a directory");
    let Services { database, amqp, management } = services;
    let common = [
        "adopt",
        "--reason",
        "CHG-9",
        "--by",
        "olga",
        "--database-url",
        database,
        "--amqp-url",
        amqp,
        "--management-url",
        management,
    ];
    end(&mut hearken(directory.path(), &[&common, flags].concat()))
}

async fn history(node: &Node) -> Vec<Value> {
    node.get("/listeners/history").await["events"].as_array().expect("events").clone()
}

/// Waits until the node has read the recorded adoption.
async fn wait_adopted(node: &Node) -> Value {
    wait::until("the node takes the new identity up", async || {
        let answer = node.try_call(Method::GET, "/listeners/history", None).await.ok()?;
        let events = answer.body["events"].as_array()?.clone();
        events.into_iter().find(|event| event["type"] == "LogAdopted")
    })
    .await
}

/// Groups of the orphans that the node lists.
async fn orphans(node: &Node) -> Option<Vec<String>> {
    let path = "/topology/queues?kind=orphan";
    let answer = node.try_call(Method::GET, path, None).await.ok()?;
    let queues = answer.body["queues"].as_array()?;
    Some(queues.iter().filter_map(|queue| Some(queue["group"].as_str()?.to_owned())).collect())
}

/// Cursor of the stream of changes, as a client keeps it.
async fn is_refused(node: &Node, cursor: &str) -> bool {
    let client = reqwest::Client::builder().no_proxy().build().expect("a client");
    let request = client.get(format!("{}/topology/changes", node.url));
    let request = request.bearer_auth(crate::support::node::TOKEN).header("last-event-id", cursor);
    let mut answer = request.send().await.expect("the node answers");
    let mut text = String::new();
    while !text.contains("\n\n") {
        let Ok(Some(chunk)) = answer.chunk().await else { break };
        text.push_str(&String::from_utf8_lossy(&chunk));
    }
    text.contains("resync")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_log_gets_a_new_identity_and_refuses_earlier_cursors() {
    let receiver = Receiver::start().await;
    let (services, _host) = Services::fresh().await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(json!({"class": "log", "group": "a"})).await;
    node.terminate().await;
    let backup = services::copy_of(&services.database).await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(receiver.listener("b")).await;
    node.terminate().await;
    let services = Services { database: backup, ..services };
    let node = Setup::cluster("one", &services).start().await;
    wait::until("the orphan is listed", async || {
        orphans(&node).await.filter(|orphans| *orphans == ["b"])
    })
    .await;
    assert_eq!(node.send("mailboxEvent", "meanwhile").await.status, 202);

    let shown = adopt(&services, &[]);
    assert_eq!(shown.code, Some(0), "{shown:?}");
    assert!(shown.out.contains("nothing was changed; add --yes"), "{shown:?}");
    assert_eq!(history(&node).await.len(), 1, "a dry run records nothing");
    let done = adopt(&services, &["--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    let event = wait_adopted(&node).await;
    assert_eq!((&event["actor"], &event["reason"]), (&json!("olga"), &json!("CHG-9")));
    let [former, log] = ["former", "identity"].map(|which| event["adoption"][which]["log"].clone());
    assert_ne!(former, log);
    assert_eq!(event["adoption"]["former"]["cluster"], event["adoption"]["identity"]["cluster"]);
    assert!(is_refused(&node, &format!("{}:1", former.as_str().unwrap())).await);

    // The group takes its queue over, and what was published meanwhile is not lost.
    wait::until("the orphan is known to the passes", async || {
        let topology = node.try_call(Method::GET, "/topology", None).await.ok()?;
        topology.body["status"]["restraint"].as_str().map(str::to_owned)
    })
    .await;
    node.add(receiver.listener("b")).await;
    receiver.wait_for("meanwhile").await;
    node.wait_topology("converged").await;
    assert_eq!(orphans(&node).await, Some(Vec::new()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_database_takes_over_the_queues_of_its_broker_with_their_events() {
    let receiver = Receiver::start().await;
    let (services, host) = Services::fresh().await;
    let mut node = Setup::cluster("one", &services).start().await;
    let groups: Vec<String> = (0..12).map(|number| format!("g{number}")).collect();
    for group in &groups {
        node.add(receiver.listener(group)).await;
    }
    let lost = Services { database: services::database().await, ..services.clone() };
    let refused = adopt(&lost, &["--yes"]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.err.contains("is in use") && refused.err.contains("one"), "{refused:?}");
    node.terminate().await;

    let node = Setup::cluster("one", &lost).start().await;
    node.wait_topology("blocked").await;
    assert_eq!(node.send("mailboxEvent", "meanwhile").await.status, 202);
    let done = adopt(&lost, &["--yes"]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(done.out.contains("the cluster is "), "{done:?}");
    wait_adopted(&node).await;
    // More orphans than the breaker tolerates of one log: they are of the log before.
    let found = wait::until("every queue is an orphan", async || {
        orphans(&node).await.filter(|orphans| orphans.len() == groups.len())
    })
    .await;
    node.wait_topology("drifted").await;
    for group in &found {
        node.add(receiver.listener(group)).await;
    }
    node.wait_topology("converged").await;
    let queues = names(&host, "queues").await;
    assert_eq!(queues.iter().filter(|name| name.contains(".work.")).count(), groups.len());
    wait::until("each group runs the event", async || {
        let listed = node.get("/topology/queues?kind=work").await;
        let queues = listed["queues"].as_array().expect("queues");
        let empty = queues.iter().all(|queue| queue["ready"] == 0 && queue["consumers"] == 1);
        let runs = receiver.ids().get("meanwhile").copied().unwrap_or_default();
        (empty && runs >= groups.len()).then_some(())
    })
    .await;
}
