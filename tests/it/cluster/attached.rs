//! A listener is added to a running James, which is not touched: a bus attached to its exchange.

mod james;

use crate::support::{
    node::{Node, Services, Setup},
    receiver::Receiver,
    services::VirtualHost,
    wait,
};
use james::James;
use reqwest::Method;
use serde_json::{Value, json};

const WORK: &str = "hearken.james.work.index.v1";

const FILE: &str = r#"
[[bus]]
name = "james"
exchange = "mailboxEvent-exchange"
codec = "james"
attached = true
"#;

async fn attached_to(services: &Services) -> Node {
    Setup::cluster("one", services).with_file(FILE).start().await
}

fn listener(receiver: &Receiver) -> Value {
    let mut listener = receiver.listener("index");
    listener["bus"] = json!("james");
    listener["retry"] = json!({"attempts": 2, "first": "100ms", "max": "200ms"});
    listener
}

/// The sources and keys of a queue's bindings.
async fn bindings(host: &VirtualHost, queue: &str) -> Vec<(String, String)> {
    let path = format!("queues/{}/{queue}/bindings", host.name);
    let rows = host.api(Method::GET, &path, None).await;
    let rows = rows.as_array().cloned().unwrap_or_default();
    let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    rows.iter()
        .map(|row| (text(row, "source"), text(row, "routing_key")))
        .filter(|(source, _)| !source.is_empty())
        .collect()
}

fn to_james(bindings: &[(String, String)]) -> bool {
    bindings.contains(&("mailboxEvent-exchange".to_owned(), String::new()))
}

async fn parked(host: &VirtualHost) -> Option<u64> {
    let path = format!("queues/{}/hearken.james.parked", host.name);
    host.api(Method::GET, &path, None).await["messages"].as_u64()
}

fn added(id: &str) -> Value {
    json!({"Added": {"eventId": id, "sessionId": 42, "user": "bob", "mailboxId": "18",
        "path": {"namespace": "#private", "user": "bob", "name": "INBOX"},
        "added": {"7": {"uid": 7, "modSeq": 35, "flags": {"systemFlags": [], "userFlags": []},
            "size": 45, "internalDate": "2018-12-14T09:41:51Z", "messageId": "42"}}}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_of_an_attached_bus_gets_what_james_publishes_and_james_is_not_touched() {
    let (services, host) = Services::fresh().await;
    let james = James::start(&host).await;
    let before = james::definitions(&host).await;
    let node = attached_to(&services).await;
    let receiver = Receiver::start().await;
    node.add(listener(&receiver)).await;
    node.wait_listener("index", "running").await;
    assert!(to_james(&bindings(&host, WORK).await));

    james.publish(&added("single").to_string()).await;
    james.publish(&json!([added("first"), added("second")]).to_string()).await;
    let state_change = json!({"eventId": "state", "username": "bob",
        "typeStates": {"Email": "2c9f1b12-b35a-43e6-9af2-0106fb53a943"},
        "type": "org.apache.james.jmap.change.StateChangeEvent"});
    james.publish(&state_change.to_string()).await;
    james.publish(r#"{"FromTheFuture":{"eventId":"unknown","anything":[1]}}"#).await;
    james.publish(r#"{"Added":{"eventId":"noop","user":"bob","added":{}}}"#).await;
    james.publish("this is no event").await;
    for id in ["single", "first", "second", "state", "unknown"] {
        receiver.wait_for(id).await;
    }
    wait::until("what is no event is parked by us", async || {
        (parked(&host).await == Some(1)).then_some(())
    })
    .await;
    assert!(receiver.ids().values().all(|times| *times == 1), "{:?}", receiver.ids());
    assert!(!receiver.ids().contains_key("noop"));
    wait::until("James has its own copies", async || (james.waiting().await == 6).then_some(()))
        .await;

    node.remove("index", "discard").await;
    wait::until("our queue is gone", async || {
        let queues = host.api(Method::GET, &format!("queues/{}", host.name), None).await;
        let gone = queues.as_array()?.iter().all(|queue| queue["name"] != WORK);
        gone.then_some(())
    })
    .await;
    assert_eq!(james::definitions(&host).await, before, "James has what it had");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_james_that_fails_is_retried_and_given_up_among_our_own_objects() {
    let (services, host) = Services::fresh().await;
    let james = James::start(&host).await;
    let node = attached_to(&services).await;
    let receiver = Receiver::start().await;
    node.add(listener(&receiver)).await;
    node.wait_listener("index", "running").await;

    receiver.answer(500);
    james.publish(&added("given-up").to_string()).await;
    let path = "/events/deadLetter/groups/index";
    wait::until("it is a dead letter of ours", async || {
        let answer = node.call(Method::GET, path, None).await;
        (answer.status == 200 && answer.body.as_array().is_some_and(|all| !all.is_empty()))
            .then_some(())
    })
    .await;
    assert_eq!(receiver.ids()["given-up"], 3, "once, and two retries");
    assert_eq!(james.waiting().await, 1, "James sees its event once");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_binding_follows_the_exchange_of_james_when_that_comes_back() {
    let (services, host) = Services::fresh().await;
    let james = James::start(&host).await;
    let node = attached_to(&services).await;
    let receiver = Receiver::start().await;
    node.add(listener(&receiver)).await;
    node.add(json!({"class": "log", "group": "audit"})).await;
    node.wait_listener("index", "running").await;

    james.delete_exchange().await;
    wait::until("the pass says whose exchange is missing", async || {
        let topology = node.get("/topology").await;
        let cause = topology["status"]["failure"]["cause"].as_str()?.to_owned();
        let words =
            ["no exchange 'mailboxEvent-exchange'", "is mailboxEvent-exchange its exchange?"];
        words.iter().all(|word| cause.contains(word)).then_some(())
    })
    .await;
    // Another bus is not affected.
    assert_eq!(node.send("mailboxEvent", "elsewhere").await.status, 202);
    node.add(json!({"class": "log", "group": "audit2"})).await;

    james.declare().await;
    wait::until("our queue is bound again", async || {
        to_james(&bindings(&host, WORK).await).then_some(())
    })
    .await;
    node.wait_topology("converged").await;
    james.publish(&added("again").to_string()).await;
    receiver.wait_for("again").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_accepted_before_james_has_ever_run() {
    let (services, host) = Services::fresh().await;
    let node = attached_to(&services).await;
    let receiver = Receiver::start().await;
    let answer = node.call(Method::POST, "/listeners", Some(listener(&receiver))).await;
    assert_eq!(answer.status, 201, "{}", answer.body);
    wait::until("the pass says what is missing", async || {
        let topology = node.get("/topology").await;
        let cause = topology["status"]["failure"]["cause"].as_str()?.to_owned();
        cause.contains("is mailboxEvent-exchange its exchange?").then_some(())
    })
    .await;
    let exchanges = host.api(Method::GET, &format!("exchanges/{}", host.name), None).await;
    let ours = exchanges.as_array().unwrap().iter();
    assert!(ours.clone().any(|exchange| exchange["name"] == "hearken.james.return"));
    assert!(ours.clone().all(|exchange| exchange["name"] != "mailboxEvent-exchange"));

    let james = James::start(&host).await;
    node.wait_topology("converged").await;
    node.wait_listener("index", "running").await;
    james.publish(&added("at-last").to_string()).await;
    receiver.wait_for("at-last").await;
}
