//! What hearken is for, from end to end.

use crate::support::{
    node::{Node, Services, Setup},
    receiver::Receiver,
    services::VirtualHost,
    wait,
};
use lapin::{BasicProperties, Connection, ConnectionProperties, options::BasicPublishOptions};
use reqwest::Method;
use serde_json::json;

const WORK: &str = "hearken.mailboxEvent.work.index.v1";

async fn two_nodes() -> (Node, Node, Services, VirtualHost) {
    let (services, host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    (one, two, services, host)
}

/// Publishes as James does: its JSON, no content type, to the bus's exchange.
async fn publish_as_a_foreign_program(amqp: &str, id: &str) {
    let connection = Connection::connect(amqp, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    let body =
        json!({"MailboxAdded": {"eventId": id, "user": "bob", "mailboxId": "18"}}).to_string();
    let exchange = "hearken.mailboxEvent".into();
    let options = BasicPublishOptions::default();
    let sent = channel
        .basic_publish(exchange, "".into(), options, body.as_bytes(), BasicProperties::default())
        .await;
    sent.unwrap().await.unwrap();
    connection.close(200, "done".into()).await.unwrap();
}

async fn consumers(host: &VirtualHost, queue: &str) -> u64 {
    let path = format!("queues/{}/{queue}", host.name);
    host.api(Method::GET, &path, None).await["consumers"].as_u64().unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_added_on_one_node_is_declared_run_by_both_and_removed_on_the_other() {
    let (one, two, services, host) = two_nodes().await;
    let receiver = Receiver::start().await;

    let mut listener = receiver.listener("index");
    listener["reason"] = json!("search needs it");
    let added = one.add(listener).await;
    assert_eq!(added["generation"], 1);
    one.wait_listener("index", "running").await;
    two.wait_listener("index", "running").await;
    wait::until("both nodes consume", async || (consumers(&host, WORK).await == 2).then_some(()))
        .await;

    publish_as_a_foreign_program(&services.amqp, "6e0dd59d-660e-4d9b-b22f-0354479f47b4").await;
    receiver.wait_for("6e0dd59d-660e-4d9b-b22f-0354479f47b4").await;
    assert_eq!(one.send("mailboxEvent", "second").await.status, 202);
    receiver.wait_for("second").await;
    assert!(receiver.ids().values().all(|times| *times == 1), "{:?}", receiver.ids());

    two.remove("index", "keep").await;
    wait::until("consumers gone", async || (consumers(&host, WORK).await == 0).then_some(())).await;
    let bindings =
        host.api(Method::GET, &format!("queues/{}/{WORK}/bindings", host.name), None).await;
    let from_main =
        bindings.as_array().unwrap().iter().any(|b| b["source"] == "hearken.mailboxEvent");
    assert!(!from_main, "{bindings}");

    let history = two.get("/listeners/history").await;
    let events = history["events"].as_array().unwrap();
    let told = |i: usize| {
        let event = &events[i];
        (
            event["version"].clone(),
            event["type"].clone(),
            event["actor"].clone(),
            event["node"]["id"].clone(),
        )
    };
    assert_eq!(events.len(), 2);
    assert_eq!(told(0), (json!(1), json!("ListenerAdded"), json!("admin"), json!("one")));
    assert_eq!(told(1), (json!(2), json!("ListenerRemoved"), json!("admin"), json!("two")));
    assert_eq!(events[0]["reason"], "search needs it");
    assert_eq!(events[1]["pending"], "keep");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_kept_while_a_group_was_away_are_consumed_when_it_comes_back() {
    let (services, host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    node.add(receiver.listener("index")).await;
    node.wait_listener("index", "running").await;
    assert_eq!(node.send("mailboxEvent", "kept").await.status, 202);
    receiver.wait_for("kept").await;
    node.remove("index", "keep").await;
    wait::until("consumers gone", async || (consumers(&host, WORK).await == 0).then_some(())).await;

    receiver.answer(204);
    let before = receiver.ids()["kept"];
    node.add(receiver.listener("index")).await;
    wait::until("the kept event runs again", async || {
        (receiver.ids()["kept"] > before).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_node_follows_a_change_without_waiting_for_its_poll() {
    let (one, two, ..) = two_nodes().await;
    let receiver = Receiver::start().await;
    // The poll is every five seconds; ten changes in a row cannot each be met by it.
    let began = std::time::Instant::now();
    for number in 0..10 {
        let group = format!("g{number}");
        one.add(receiver.listener(&group)).await;
        two.wait_listener(&group, "running").await;
    }
    assert!(began.elapsed() < std::time::Duration::from_secs(25), "{:?}", began.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_is_told_to_stop_lets_its_handler_finish_and_leaves_no_consumer() {
    let (mut one, two, _services, host) = two_nodes().await;
    let receiver = Receiver::start().await;
    one.add(receiver.listener("index")).await;
    one.wait_listener("index", "running").await;
    two.wait_listener("index", "running").await;
    receiver.pause(std::time::Duration::from_secs(2));
    for number in 0..4 {
        assert_eq!(one.send("mailboxEvent", &format!("e{number}")).await.status, 202);
    }
    one.terminate().await;
    wait::until("one consumer is left", async || (consumers(&host, WORK).await == 1).then_some(()))
        .await;
    for number in 0..4 {
        receiver.wait_for(&format!("e{number}")).await;
    }
    assert!(
        receiver.ids().values().all(|times| *times == 1),
        "a finished handler was run again: {:?}",
        receiver.ids()
    );
    let nodes = two.get("/nodes").await;
    let gone = nodes["nodes"].as_array().unwrap().iter().find(|node| node["id"] == "one").cloned();
    assert!(gone.is_none_or(|node| node["state"] == "gone"));
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_told_over_sse_and_resumed() {
    let (services, _host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    node.add(json!({"class": "log", "group": "a"})).await;
    node.add(json!({"class": "log", "group": "b"})).await;
    node.remove("a", "keep").await;
    let client = reqwest::Client::new();
    let read = async |header: Option<&str>, wanted: usize| {
        let mut request = client.get(format!("{}/topology/changes?after=0", node.url));
        request = request.bearer_auth(crate::support::node::TOKEN);
        if let Some(id) = header {
            request = client
                .get(format!("{}/topology/changes", node.url))
                .bearer_auth(crate::support::node::TOKEN)
                .header("Last-Event-ID", id);
        }
        let mut answer = request.send().await.unwrap();
        let mut text = String::new();
        while text.matches("\"version\"").count() < wanted {
            let chunk =
                tokio::time::timeout(std::time::Duration::from_secs(20), answer.chunk()).await;
            let chunk = chunk
                .unwrap_or_else(|_| panic!("only {text}"))
                .unwrap()
                .expect("the stream goes on");
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        text
    };
    let all = read(None, 3).await;
    assert!(all.contains("\"added\":[\"a\"]") && all.contains("\"removed\":[\"a\"]"), "{all}");
    let ids: Vec<&str> =
        all.lines().filter_map(|line| line.strip_prefix("id:")).map(str::trim).collect();
    let rest = read(Some(ids[ids.len() - 2]), 1).await;
    assert!(rest.contains("\"removed\":[\"a\"]") && !rest.contains("\"added\":[\"a\"]"), "{rest}");
}
