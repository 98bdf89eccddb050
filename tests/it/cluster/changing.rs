//! Listeners that change, pause and resume while events are published.

use crate::support::{
    node::{Node, Services, Setup},
    receiver::Receiver,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

const ROUNDS: u16 = 12;

async fn backlog(node: &Node) -> Value {
    node.get("/listeners/index").await["backlog"].clone()
}

/// Changes the listener again and again while events are published, and counts how often each ran.
async fn change_under_load(nodes: &[&Node]) {
    let receivers = [Receiver::start().await, Receiver::start().await];
    for receiver in &receivers {
        receiver.pause(Duration::from_millis(20));
    }
    nodes[0].add(receivers[0].listener("index")).await;
    for node in nodes {
        node.wait_listener("index", "running").await;
    }
    let changed = AtomicBool::new(false);
    let changing = async {
        for round in 0..ROUNDS {
            let mut listener = receivers[usize::from(round % 2)].listener("index");
            // Every third change is of the configuration only.
            listener["concurrency"] = json!(1 + round / 3);
            let node = nodes[usize::from(round) % nodes.len()];
            let answer = node.call(Method::PUT, "/listeners/index", Some(listener)).await;
            assert_eq!(answer.status, 200, "{}", answer.body);
            for node in nodes {
                node.wait_listener("index", "running").await;
            }
        }
        changed.store(true, Ordering::Relaxed);
    };
    let publishing = async {
        let mut sent = 0;
        while !changed.load(Ordering::Relaxed) {
            let id = format!("e{sent}");
            assert_eq!(nodes[0].send("mailboxEvent", &id).await.status, 202);
            sent += 1;
        }
        sent
    };
    let ((), sent) = tokio::join!(changing, publishing);
    let ran = || {
        let mut ran = BTreeMap::new();
        for (id, times) in receivers.iter().flat_map(Receiver::ids) {
            *ran.entry(id).or_insert(0) += times;
        }
        ran
    };
    wait::until("every event ran", async || (ran().len() == sent).then_some(())).await;
    wait::until("nothing waits", async || {
        let backlog = backlog(nodes[0]).await;
        (backlog["ready"] == 0 && backlog["unacked"] == 0).then_some(())
    })
    .await;
    let twice: Vec<_> = ran().into_iter().filter(|(_, times)| *times != 1).collect();
    assert!(twice.is_empty(), "{twice:?} of {sent}");
    assert!(receivers.iter().all(|receiver| !receiver.ids().is_empty()));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_runs_once_while_its_listener_changes_on_two_nodes() {
    let (services, _host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    change_under_load(&[&one, &two]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_runs_once_while_its_listener_changes_on_an_embedded_node() {
    let node = Setup::embedded("solo").start().await;
    change_under_load(&[&node]).await;
}

/// Publishes while the listener is paused, and resumes it.
async fn pause_and_resume(nodes: &[&Node]) {
    let receiver = Receiver::start().await;
    nodes[0].add(receiver.listener("index")).await;
    for node in nodes {
        node.wait_listener("index", "running").await;
    }
    let act = async |action: &str| {
        let path = format!("/listeners/index?action={action}");
        let last = nodes.last().unwrap();
        let answer = last.call(Method::POST, &path, Some(json!({"reason": "a rest"}))).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    };
    act("pause").await;
    for node in nodes {
        node.wait_listener("index", "paused").await;
    }
    for number in 0..5 {
        assert_eq!(nodes[0].send("mailboxEvent", &format!("e{number}")).await.status, 202);
    }
    wait::until("the queue holds the events", async || {
        let backlog = backlog(nodes[0]).await;
        (backlog["ready"] == 5 && backlog["consumers"] == 0).then_some(())
    })
    .await;
    assert!(receiver.ids().is_empty(), "{:?}", receiver.ids());
    let health = nodes[0].get("/healthcheck/checks/Event%20bus%20consumers").await;
    assert_eq!(health["status"], "healthy", "{health}");
    act("resume").await;
    wait::until("every event ran", async || (receiver.ids().len() == 5).then_some(())).await;
    assert!(receiver.ids().values().all(|times| *times == 1), "{:?}", receiver.ids());
    let history = nodes[0].get("/listeners/history?group=index&actor=admin&after=1").await;
    let told: Vec<_> = (history["events"].as_array().unwrap().iter())
        .map(|event| (event["type"].as_str().unwrap(), event["reason"].as_str().unwrap()))
        .collect();
    assert_eq!(told, [("ListenerPaused", "a rest"), ("ListenerResumed", "a rest")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_the_events_of_two_nodes_and_a_resumption_delivers_them() {
    let (services, _host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    pause_and_resume(&[&one, &two]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_holds_the_events_of_an_embedded_node_across_a_restart() {
    let mut node = Setup::embedded("solo").start().await;
    pause_and_resume(&[&node]).await;
    let answer = node.call(Method::POST, "/listeners/index?action=pause", None).await;
    assert_eq!(answer.status, 204);
    node.kill();
    let node = node.setup.clone().start().await;
    node.wait_listener("index", "paused").await;
    assert_eq!(node.get("/listeners/index").await["paused"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_made_leaves_the_listener_with_its_earlier_settings() {
    let node = Setup::embedded("solo").start().await;
    let receiver = Receiver::start().await;
    node.add(receiver.listener("index")).await;
    node.wait_listener("index", "running").await;
    let mut listener = receiver.listener("index");
    listener["configuration"]["secret"] = json!({"env": "HEARKEN_SECRET_THAT_IS_NOT_SET"});
    let answer = node.call(Method::PUT, "/listeners/index", Some(listener)).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    node.wait_listener("index", "outdated").await;
    assert_eq!(node.send("mailboxEvent", "still").await.status, 202);
    receiver.wait_for("still").await;
    let health = node.get("/healthcheck/checks/Listeners%20on%20this%20node").await;
    assert_eq!(health["status"], "degraded", "{health}");
    let answer = node.call(Method::PUT, "/listeners/index", Some(receiver.listener("index"))).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    node.wait_listener("index", "running").await;
}
