//! A database that is older than the broker: restored from a backup, or failed over with a loss.

use super::drift::names;
use crate::{
    cli::{end, hearken},
    support::{
        node::{Node, Services, Setup, TOKEN},
        receiver::Receiver,
        services::{self, VirtualHost},
        wait,
    },
};
use reqwest::Method;
use serde_json::json;

const ORPHAN: &str = "hearken.mailboxEvent.work.b.v1";

/// The services after a restore: the broker serves groups `a` and `b`, and the log knows only `a`.
async fn restored(receiver: &Receiver) -> (Services, VirtualHost) {
    let (services, host) = Services::fresh().await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(json!({"class": "log", "group": "a"})).await;
    node.terminate().await;
    let backup = services::copy_of(&services.database).await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(receiver.listener("b")).await;
    node.terminate().await;
    (Services { database: backup, ..services }, host)
}

async fn restraint(node: &Node) -> Option<String> {
    let topology = node.get("/topology").await;
    topology["status"]["restraint"].as_str().map(str::to_owned)
}

/// Output of `hearken doctor` beside a running node.
fn doctor(node: &Node) -> String {
    let directory = tempfile::tempdir().expect("a directory");
    let arguments = ["doctor", "--url", &node.url, "--token", TOKEN];
    end(&mut hearken(directory.path(), &arguments)).out
}

async fn is_bound(host: &VirtualHost, queue: &str) -> bool {
    names(host, "bindings").await.contains(&format!("hearken.mailboxEvent>{queue}>"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_database_unbinds_and_deletes_nothing_until_an_operator_decides() {
    let receiver = Receiver::start().await;
    let (services, host) = restored(&receiver).await;
    let node = Setup::cluster("one", &services).start().await;
    let sign = wait::until("the orphan is named", async || restraint(&node).await).await;
    assert!(sign.contains(ORPHAN), "{sign}");
    node.wait_topology("drifted").await;

    // Neither the orphan nor the queue of a listener that is removed now loses its bindings.
    let removal = node.call(Method::DELETE, "/listeners/a?pending=discard", None).await;
    assert_eq!(removal.status, 204, "{}", removal.body);
    let plan = node.call(Method::POST, "/topology?action=reconcile&dryRun=true", None).await;
    let shown = plan.body.to_string();
    assert!(shown.contains(&format!("while queue {ORPHAN} is an orphan")), "{shown}");
    assert!(!shown.contains("\"unbind\"") && !shown.contains("\"delete\""), "{shown}");
    let pass = node.call(Method::POST, "/topology?action=reconcile", None).await;
    let task = pass.body["taskId"].as_str().expect("a task").to_owned();
    let ended = node.get(&format!("/tasks/{task}/await?timeout=30s")).await;
    assert_eq!(ended["status"], "completed", "{ended}");
    assert!(is_bound(&host, ORPHAN).await, "the orphan stays bound");
    assert!(is_bound(&host, "hearken.mailboxEvent.work.a.v1").await, "a queue stays bound");
    let health = node.get("/healthcheck/checks/Listener%20topology").await;
    let cause = health["cause"].as_str().unwrap_or_default();
    assert!(health["status"] == "degraded" && cause.contains(ORPHAN), "{health}");

    let examined = doctor(&node);
    let hint = "FAIL  topology         queue hearken.mailboxEvent.work.b.v1 is an orphan";
    assert!(examined.contains(hint) && examined.contains("--kind orphan"), "{examined}");
    let listed = node.get("/topology/queues?kind=orphan").await;
    let orphan = &listed["queues"][0];
    let shown = json!([orphan["name"], orphan["group"], orphan["remedy"]]);
    assert_eq!(shown, json!([ORPHAN, "b", "add-group"]), "{listed}");
    assert!(orphan["advice"].as_str().unwrap().contains("hearken topology release"), "{listed}");

    // What was published meanwhile is not lost: the group takes its queue over.
    assert_eq!(node.send("mailboxEvent", "meanwhile").await.status, 202);
    node.add(receiver.listener("b")).await;
    receiver.wait_for("meanwhile").await;
    wait::until("nothing is held back", async || restraint(&node).await.is_none().then_some(()))
        .await;
    wait::until("the discarded queue is deleted", async || {
        let queues = names(&host, "queues").await;
        (!queues.contains(&"hearken.mailboxEvent.work.a.v1".to_owned())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphan_that_is_not_wanted_is_deleted_on_request() {
    let receiver = Receiver::start().await;
    let (services, host) = restored(&receiver).await;
    let node = Setup::cluster("one", &services).start().await;
    wait::until("the orphan is named", async || restraint(&node).await).await;
    let path = format!("/topology/queues/{ORPHAN}?force=true");
    let deletion = node.call(Method::DELETE, &path, None).await;
    assert_eq!(deletion.status, 201, "{}", deletion.body);
    wait::until("the orphan is gone", async || {
        (!names(&host, "queues").await.contains(&ORPHAN.to_owned())).then_some(())
    })
    .await;
    node.wait_topology("converged").await;
    assert_eq!(restraint(&node).await, None);
}

/// The recorded events about queues, each with its type, group and reason.
async fn queue_events(node: &Node) -> Vec<serde_json::Value> {
    let history = node.get("/listeners/history").await;
    let events = history["events"].as_array().expect("events").iter();
    let queues = events.filter(|event| event["type"].as_str().unwrap().starts_with("Queue"));
    queues.map(|event| json!([event["type"], event["group"], event["reason"]])).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_is_added_takes_over_the_newest_queue_of_its_lost_history() {
    let receiver = Receiver::start().await;
    let (services, host) = Services::fresh().await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(json!({"class": "log", "group": "a"})).await;
    node.terminate().await;
    let backup = services::copy_of(&services.database).await;
    // The lost history makes a second queue of group b, at a version far ahead of the backup.
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(receiver.listener("b")).await;
    for _ in 0..3 {
        let removal =
            node.call(Method::DELETE, "/listeners/b?pending=discard&wait=20s", None).await;
        assert_eq!(removal.status, 204, "{}", removal.body);
        node.add(receiver.listener("b")).await;
    }
    node.terminate().await;
    let services = Services { database: backup, ..services };
    let node = Setup::cluster("one", &services).start().await;
    let newest = "hearken.mailboxEvent.work.b.v4";
    let sign = wait::until("the orphan is named", async || restraint(&node).await).await;
    assert!(sign.contains(".work.b."), "{sign}");
    assert_eq!(node.send("mailboxEvent", "meanwhile").await.status, 202);
    node.add(receiver.listener("b")).await;
    receiver.wait_for("meanwhile").await;
    assert_eq!(node.get("/listeners/b").await["generation"], 4);
    assert_eq!(queue_events(&node).await[0], json!(["QueueTakenOver", "b", null]));
    assert!(is_bound(&host, newest).await, "the queue of the lost history is used again");
    // Older queues that were not deleted yet when the database was lost are orphans of their own.
    for queue in names(&host, "queues").await {
        let path = format!("/topology/queues/{queue}?action=release");
        if queue.contains(".work.b.") && queue != newest {
            assert_eq!(node.call(Method::POST, &path, None).await.status, 201, "{queue}");
        }
    }
    wait::until("nothing is held back", async || restraint(&node).await.is_none().then_some(()))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_orphan_is_deleted_with_its_events_and_passes_go_on() {
    let receiver = Receiver::start().await;
    let (services, host) = restored(&receiver).await;
    let node = Setup::cluster("one", &services).start().await;
    wait::until("the orphan is named", async || restraint(&node).await).await;
    assert_eq!(node.send("mailboxEvent", "unwanted").await.status, 202);
    for (queue, action, status, problem) in [
        ("hearken.mailboxEvent.work.a.v1", "release", 409, "/problems/not-orphan"),
        ("hearken.mailboxEvent.work.none.v1", "release", 404, "/problems/not-found"),
        (ORPHAN, "adopt", 400, "/problems/invalid-parameter"),
    ] {
        let path = format!("/topology/queues/{queue}?action={action}");
        let refused = node.call(Method::POST, &path, None).await;
        let found = (refused.status.as_u16(), refused.body["type"].as_str());
        assert_eq!(found, (status, Some(problem)), "{}", refused.body);
    }
    let path = format!("/topology/queues/{ORPHAN}?action=release&reason=CHG-7");
    let mut tasks = Vec::new();
    for attempt in ["once", "twice"] {
        let release = node.call(Method::POST, &path, None).await;
        assert!(release.status == 201 || attempt == "twice", "{}", release.body);
        tasks.extend(release.body["taskId"].as_str().map(str::to_owned));
    }
    for task in tasks {
        let ended = node.get(&format!("/tasks/{task}/await?timeout=60s")).await;
        assert_eq!(ended["status"], "completed", "{ended}");
    }
    wait::until("the orphan is gone", async || {
        (!names(&host, "queues").await.contains(&ORPHAN.to_owned())).then_some(())
    })
    .await;
    assert_eq!(queue_events(&node).await, [json!(["QueueReleased", "b", "CHG-7"])]);
    // A removal is made again.
    let removal = node.call(Method::DELETE, "/listeners/a?pending=discard", None).await;
    assert_eq!(removal.status, 204, "{}", removal.body);
    wait::until("the discarded queue is deleted", async || {
        let queues = names(&host, "queues").await;
        (!queues.contains(&"hearken.mailboxEvent.work.a.v1".to_owned())).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_a_newer_layout_describes_is_left_alone() {
    let (services, host) = Services::fresh().await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(json!({"class": "log", "group": "a"})).await;
    node.terminate().await;
    let path = format!("exchanges/{}/hearken.meta", host.name);
    let mut marker = host.api(Method::GET, &path, None).await;
    host.api(Method::DELETE, &path, None).await;
    marker["arguments"]["x-hearken-layout"] = json!(99);
    let newer = json!({
        "type": marker["type"], "durable": true, "internal": true, "arguments": marker["arguments"],
    });
    host.api(Method::PUT, &path, Some(newer)).await;
    let node = Setup::cluster("one", &services).start().await;
    node.wait_topology("blocked").await;
    let topology = node.get("/topology").await;
    let cause = topology["status"]["failure"]["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("layout 99") && cause.contains("upgrade"), "{topology}");
}
