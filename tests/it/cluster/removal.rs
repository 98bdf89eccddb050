//! keep, drain, discard: what becomes of waiting events.

use crate::support::{
    node::{Services, Setup},
    receiver::Receiver,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::time::Duration;

const WORK: &str = "hearken.mailboxEvent.work.a.v1";

/// A receiver whose retries are quick, so that draining does not wait a minute for stragglers.
fn listener(receiver: &Receiver) -> Value {
    let mut listener = receiver.listener("a");
    listener["retry"] = json!({"attempts": 2, "first": "100ms", "max": "200ms"});
    listener
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_queue_is_consumed_to_its_end_and_then_deleted() {
    let (services, host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    let receiver = Receiver::start().await;
    node.add(listener(&receiver)).await;
    node.wait_listener("a", "running").await;
    receiver.pause(Duration::from_millis(300));
    for number in 0..30 {
        assert_eq!(node.send("mailboxEvent", &format!("e{number}")).await.status, 202);
    }
    node.remove("a", "drain").await;
    for number in 0..30 {
        receiver.wait_for(&format!("e{number}")).await;
    }
    let path = format!("queues/{}", host.name);
    wait::within(Duration::from_secs(90), "the drained queue is deleted", async || {
        let queues = host.api(Method::GET, &path, None).await;
        (!queues.as_array()?.iter().any(|queue| queue["name"] == WORK)).then_some(())
    })
    .await;
    let passes = wait::until("the deletion is recorded", async || {
        let passes = node.get("/topology/passes?limit=1000").await.to_string();
        passes.contains("\"delete\"").then_some(passes)
    })
    .await;
    assert!(passes.contains("\"done\""), "{passes}");
    node.wait_topology("converged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_discarded_queue_goes_with_its_events_and_its_name_is_not_used_again() {
    let (services, host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    let receiver = Receiver::start().await;
    receiver.answer(503);
    node.add(listener(&receiver)).await;
    node.wait_listener("a", "running").await;
    assert_eq!(node.send("mailboxEvent", "lost").await.status, 202);
    receiver.wait_for("lost").await;
    node.remove("a", "discard").await;
    let path = format!("queues/{}", host.name);
    wait::within(Duration::from_mins(1), "the discarded queue is deleted", async || {
        let queues = host.api(Method::GET, &path, None).await;
        (!queues.as_array()?.iter().any(|queue| queue["name"] == WORK)).then_some(())
    })
    .await;
    let again = node.add(listener(&receiver)).await;
    assert_eq!(again["generation"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_discarded_queues_go_together_and_each_is_recorded() {
    let (services, host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    let groups: Vec<_> = (0..40).map(|number| format!("g{number}")).collect();
    for group in &groups {
        node.add(json!({"class": "log", "group": group})).await;
    }
    node.wait_topology("converged").await;
    for group in &groups {
        node.remove(group, "discard").await;
    }
    let path = format!("queues/{}", host.name);
    wait::within(Duration::from_mins(1), "the discarded queues are deleted", async || {
        let queues = host.api(Method::GET, &path, None).await;
        let work = |queue: &Value| queue["name"].as_str().is_some_and(|n| n.contains(".work."));
        (!queues.as_array()?.iter().any(work)).then_some(())
    })
    .await;
    wait::until("each deletion is recorded", async || {
        let passes = node.get("/topology/passes?limit=1000").await.to_string();
        let deleted = |group: &String| passes.contains(&format!(".work.{group}.v1"));
        groups.iter().all(deleted).then_some(())
    })
    .await;
    node.wait_topology("converged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_runs_while_its_listener_is_removed_finishes() {
    let (services, _host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    let receiver = Receiver::start().await;
    node.add(listener(&receiver)).await;
    node.wait_listener("a", "running").await;
    receiver.pause(Duration::from_secs(3));
    assert_eq!(node.send("mailboxEvent", "slow").await.status, 202);
    wait::until("the handler runs", async || {
        let metrics = node.get("/metrics").await;
        metrics
            .as_str()?
            .contains("hearken_in_flight{bus=\"mailboxEvent\",group=\"a\"} 1")
            .then_some(())
    })
    .await;
    node.remove("a", "keep").await;
    receiver.wait_for("slow").await;
    assert_eq!(receiver.ids()["slow"], 1);
    let depth = node.call(Method::DELETE, &format!("/topology/queues/{WORK}"), None).await;
    assert_eq!(depth.status, 201, "the kept queue is empty and may be deleted: {}", depth.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_listener_does_not_hold_up_another_and_its_event_is_tried_again() {
    let (services, _host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    let (sick, well) = (Receiver::start().await, Receiver::start().await);
    sick.answer(500);
    node.add(sick.listener("sick")).await;
    node.add(well.listener("well")).await;
    node.wait_listener("sick", "running").await;
    node.wait_listener("well", "running").await;
    for number in 0..20 {
        assert_eq!(node.send("mailboxEvent", &format!("e{number}")).await.status, 202);
    }
    for number in 0..20 {
        well.wait_for(&format!("e{number}")).await;
    }
    wait::until("the failing event is tried again", async || {
        sick.ids().values().any(|times| *times >= 3).then_some(())
    })
    .await;
    let tries: usize = sick.ids().values().sum();
    assert!(tries < 20 * 12, "a hot loop: {tries} tries");
    sick.answer(204);
    wait::until("all are handled at last", async || {
        let metrics = node.get("/metrics").await;
        metrics
            .as_str()?
            .contains("hearken_handled_total{bus=\"mailboxEvent\",group=\"sick\"} 20")
            .then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_younger_than_the_brokers_statistics_is_deleted_on_request() {
    let (services, host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    node.add(json!({"class": "log", "group": "a"})).await;
    node.remove("a", "keep").await;
    wait::until("the young queue is deleted", async || {
        let deletion = node.call(Method::DELETE, &format!("/topology/queues/{WORK}"), None).await;
        // The consumer of the removed listener may not have ended yet.
        if deletion.status != 201 {
            assert_eq!(deletion.status, 409, "{}", deletion.body);
            return None;
        }
        let task = deletion.body["taskId"].as_str().expect("a task").to_owned();
        let ended = node.get(&format!("/tasks/{task}/await?timeout=60s")).await;
        let shown = ended.to_string();
        assert!(ended["status"] == "completed" || shown.contains("in use"), "{shown}");
        (ended["status"] == "completed").then_some(())
    })
    .await;
    assert!(!super::drift::names(&host, "queues").await.contains(&WORK.to_owned()));
}
