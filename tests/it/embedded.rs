//! `hearken serve` alone: SQLite and the in-process bus, as a process.

use crate::support::{node::Setup, receiver::Receiver, wait};
use reqwest::Method;
use serde_json::json;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_added_handles_events_is_removed_and_the_history_says_so() {
    let node = Setup::embedded("solo").start().await;
    let receiver = Receiver::start().await;
    node.add(receiver.listener("index")).await;
    node.wait_listener("index", "running").await;
    assert_eq!(node.send("mailboxEvent", "e1").await.status, 202);
    receiver.wait_for("e1").await;
    node.remove("index", "keep").await;
    assert_eq!(node.send("mailboxEvent", "e2").await.status, 202);
    let history = node.get("/listeners/history").await;
    assert_eq!(history["events"].as_array().unwrap().len(), 2);
    assert_eq!(node.topology_state().await, "converged");
    assert_eq!(receiver.ids().len(), 1, "a removed listener was called");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_accepted_before_a_kill_runs_after_it() {
    let mut node = Setup::embedded("solo").start().await;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    node.add(receiver.listener("index")).await;
    node.wait_listener("index", "running").await;
    for number in 0..50 {
        assert_eq!(node.send("mailboxEvent", &format!("e{number}")).await.status, 202);
    }
    node.kill();
    receiver.answer(204);
    let before = receiver.ids();
    let node = node.setup.clone().start().await;
    wait::until("every accepted event runs again", async || {
        let ids = receiver.ids();
        let again = |n: usize| {
            let id = format!("e{n}");
            ids.get(&id).copied().unwrap_or(0) > before.get(&id).copied().unwrap_or(0)
        };
        (0..50).all(again).then_some(())
    })
    .await;
    assert_eq!(node.get("/listeners").await["version"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_acknowledged_before_a_kill_are_there_after_it() {
    let mut node = Setup::embedded("solo").start().await;
    let mut acknowledged = 0;
    for number in 0..40 {
        let listener = json!({"class": "log", "group": format!("g{number}")});
        let answer = node.call(Method::POST, "/listeners", Some(listener)).await;
        assert_eq!(answer.status, 201);
        acknowledged += 1;
    }
    node.kill();
    let node = node.setup.clone().start().await;
    assert_eq!(node.get("/listeners").await["listeners"].as_array().unwrap().len(), acknowledged);
    node.wait_topology("converged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_directory_is_told_which_process_holds_it() {
    let node = Setup::embedded("solo").start().await;
    let mut second = Setup { directory: node.setup.directory.clone(), ..Setup::embedded("second") };
    second.id = "second".into();
    let output = second.command(0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(said.contains("data") && said.contains(&node.process.id().to_string()), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_not_ours_is_refused_and_left_alone() {
    let setup = Setup::embedded("solo");
    let data = setup.directory.join("data");
    std::fs::create_dir_all(&data).unwrap();
    let file = data.join("hearken.db");
    std::fs::write(&file, "this is not a database, and it is longer than a header of SQLite would be, so that it is read").unwrap();
    let output = setup.command(0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("hearken.db"), "{said}");
    assert!(std::fs::read_to_string(&file).unwrap().starts_with("this is not"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drained_listener_finishes_its_events_and_its_queue_goes() {
    let node = Setup::embedded("solo").start().await;
    let receiver = Receiver::start().await;
    let mut listener = receiver.listener("index");
    listener["retry"] = json!({"attempts": 1, "first": "100ms", "max": "100ms"});
    node.add(listener).await;
    node.wait_listener("index", "running").await;
    receiver.pause(Duration::from_millis(100));
    for number in 0..20 {
        assert_eq!(node.send("mailboxEvent", &format!("e{number}")).await.status, 202);
    }
    node.remove("index", "drain").await;
    for number in 0..20 {
        receiver.wait_for(&format!("e{number}")).await;
    }
    wait::within(Duration::from_mins(1), "the queue is deleted", async || {
        let topology = node.get("/topology").await;
        (!topology["observed"]["queues"].to_string().contains("work.index")).then_some(())
    })
    .await;
}
