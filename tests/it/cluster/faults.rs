//! Processes killed, brokers and databases taken away, wires cut. What was acknowledged stays, and
//! the broker ends as the roster says.

use super::wires::behind_proxies;
use crate::support::{
    node::{Node, Services, Setup},
    proxy::Wire,
    receiver::Receiver,
    services, wait,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use std::{path::Path, time::Duration};
use xtask::services::{RabbitMq, RabbitMqVersion};

pub(super) fn log(group: &str) -> Value {
    json!({"class": "log", "group": group, "retry": {"attempts": 1}})
}

pub(super) async fn groups(node: &Node) -> Vec<String> {
    let listeners = node.get("/listeners").await;
    let listeners = listeners["listeners"].as_array().unwrap().clone();
    listeners.iter().map(|l| l["group"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_between_append_and_declare_fulfils_its_intent_at_the_next_start() {
    let (services, _, broker, _) = behind_proxies().await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.wait_topology("converged").await;
    broker.set(Wire::BlackHole);
    let answer = node.call(Method::POST, "/listeners", Some(log("a"))).await;
    assert_eq!((answer.status.as_u16(), &answer.body["topology"]), (201, &json!("pending")));
    node.kill();

    broker.set(Wire::Up);
    let node = node.setup.clone().start().await;
    assert_eq!(groups(&node).await, ["a"]);
    node.wait_topology("converged").await;
    node.wait_listener("a", "running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_in_the_middle_of_a_pass_leaves_work_that_another_node_finishes() {
    let (services, _host) = Services::fresh().await;
    let mut one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    let add =
        |number: usize| one.try_call(Method::POST, "/listeners", Some(log(&format!("g{number}"))));
    let answers = join_all((0..100).map(add)).await;
    one.kill();
    let accepted = answers.iter().filter(|a| a.as_ref().is_ok_and(|a| a.status == 201)).count();
    assert_eq!(accepted, 100);
    assert_eq!(groups(&two).await.len(), 100);
    wait::within(Duration::from_mins(1), "the other node converges", async || {
        (two.topology_state().await == "converged").then_some(())
    })
    .await;
    two.wait_listener("g99", "running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_in_the_hands_of_a_node_that_is_killed_runs_on_another() {
    let (services, _host) = Services::fresh().await;
    let mut one = Setup::cluster("one", &services).start().await;
    let receiver = Receiver::start().await;
    one.add(receiver.listener("a")).await;
    one.wait_listener("a", "running").await;
    receiver.pause(Duration::from_secs(20));
    assert_eq!(one.send("mailboxEvent", "e").await.status, 202);
    wait::until("the handler runs", async || {
        let metrics = one.get("/metrics").await;
        metrics
            .as_str()?
            .contains("hearken_in_flight{bus=\"mailboxEvent\",group=\"a\"} 1")
            .then_some(())
    })
    .await;
    one.kill();
    receiver.pause(Duration::ZERO);
    let two = Setup::cluster("two", &services).start().await;
    two.wait_listener("a", "running").await;
    receiver.wait_for("e").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_killed_and_started_again_finds_intent_kept_and_accepted_events_safe() {
    let directory = tempfile::tempdir().unwrap().keep();
    let mut rabbit = start_broker(directory).await;
    let (amqp, management) = (rabbit.amqp_url(), rabbit.management_url());
    let host = services::virtual_host_on(&amqp, &management).await;
    let database = services::database().await;
    let cluster =
        Services { database, amqp: host.amqp.clone(), management: host.management.clone() };
    let node = Setup::cluster("one", &cluster).start().await;
    let receiver = Receiver::start().await;
    node.add(receiver.listener("a")).await;
    node.wait_listener("a", "running").await;
    receiver.pause(Duration::from_secs(15));
    for number in 0..50 {
        assert_eq!(node.send("mailboxEvent", &format!("e{number}")).await.status, 202);
    }
    // Counted by its statistics, so a second or so after the queue was made: RabbitMQ 3.10 and 4.0
    // leave a quorum queue without a leader when they are killed in the first second of its life.
    wait::until("the broker knows that events are unacknowledged", async || {
        let path = format!("queues/{}/hearken.mailboxEvent.work.a.v1", host.name);
        let queue = host.api(Method::GET, &path, None).await;
        (queue["messages_unacknowledged"] == 10).then_some(())
    })
    .await;

    let mut rabbit = blocking(move || {
        rabbit.kill();
        rabbit
    })
    .await;
    node.wait_topology("unknown").await;
    let kept = node.send("mailboxEvent", "while-away").await;
    assert_eq!(kept.status, 202, "{}", kept.body);
    let groups = node.get("/events/deadLetter/groups").await;
    assert_eq!(groups, json!(["dispatch-failure"]));
    let answer = node.call(Method::POST, "/listeners", Some(log("b"))).await;
    assert_eq!((answer.status.as_u16(), &answer.body["topology"]), (201, &json!("pending")));
    let health = node.call(Method::GET, "/healthcheck/checks/RabbitMQ%20backend", None).await;
    assert_eq!(health.status, 503);

    let _rabbit = blocking(move || {
        rabbit.restart().expect("the broker starts again");
        rabbit
    })
    .await;
    receiver.pause(Duration::ZERO);
    wait::within(Duration::from_mins(1), "it converges", async || {
        (node.topology_state().await == "converged").then_some(())
    })
    .await;
    node.wait_listener("b", "running").await;
    node.wait_listener("a", "running").await;
    for number in 0..50 {
        receiver.wait_for(&format!("e{number}")).await;
    }
    receiver.wait_for("while-away").await;
    wait::until("no event is left that could not be published", async || {
        (node.get("/events/deadLetter/groups").await == json!([])).then_some(())
    })
    .await;
}

async fn start_broker(directory: std::path::PathBuf) -> RabbitMq {
    let version = RabbitMqVersion::from_env();
    blocking(move || RabbitMq::start(Path::new(&directory), version).expect("a broker starts"))
        .await
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("the work does not panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_without_its_broker_and_converges_when_it_appears() {
    let (services, _, broker, _) = behind_proxies().await;
    broker.set(Wire::Cut);
    let mut node = Setup::cluster("one", &services).launch();
    node.wait_status("/livez", 200).await;
    let answer = node.call(Method::POST, "/listeners", Some(log("a"))).await;
    assert_eq!((answer.status.as_u16(), &answer.body["topology"]), (201, &json!("pending")));
    broker.set(Wire::Up);
    node.wait_topology("converged").await;
    node.wait_listener("a", "running").await;
    node.wait_ready().await;
}
