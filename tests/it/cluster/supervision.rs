//! Classes and loops that panic or hang: what they take along, and what the node reports.
//!
//! The node is a program of its own, `tests/programs/troublemaker.rs`.

use crate::support::{
    node::{Node, Setup},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use std::{
    future::ready,
    time::{Duration, Instant},
};

fn troublemaker() -> Setup {
    Setup::embedded("solo").running("troublemaker")
}

fn listener(class: &str) -> Value {
    json!({"class": class, "retry": {"attempts": 0}})
}

async fn cause_of(node: &Node, component: &str) -> String {
    let path = format!("/healthcheck/checks/{}", component.replace(' ', "%20"));
    let check = node.call(Method::GET, &path, None).await;
    format!("{} {}", check.body["status"], check.body["cause"])
}

/// Waits until a group has executed so many events.
async fn handled(node: &Node, group: &str, count: u32) {
    let line = format!("hearken_handled_total{{bus=\"mailboxEvent\",group=\"{group}\"}} {count}");
    wait::until(&line, async || {
        let metrics = node.get("/metrics").await;
        metrics.as_str()?.lines().any(|found| found == line).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_that_panics_or_hangs_fails_alone_and_is_named_in_health() {
    let node = troublemaker().start().await;
    for class in ["panics-in-make", "hangs-in-make", "panics-in-execution", "log"] {
        node.add(listener(class)).await;
    }
    node.wait_listener("log", "running").await;
    node.wait_listener("panics-in-execution", "running").await;
    node.wait_listener("panics-in-make", "failed").await;
    node.wait_listener("hangs-in-make", "failed").await;
    let told = wait::until("health names both", async || {
        let told = cause_of(&node, "Listeners on this node").await;
        ["panics-in-make", "hangs-in-make"].iter().all(|it| told.contains(it)).then_some(told)
    })
    .await;
    assert!(told.contains("degraded"), "{told}");
    for (path, status) in [("/livez", 200), ("/readyz", 200), ("/readyz?strict", 503)] {
        assert_eq!(node.call(Method::GET, path, None).await.status, status, "{path}");
    }
    for (id, count) in [("e1", 1), ("e2", 2)] {
        assert_eq!(node.send("mailboxEvent", id).await.status, 202);
        handled(&node, "log", count).await;
        let letters = wait::until("the panic is a failure of the event alone", async || {
            let page = node.get("/events/deadLetter?group=panics-in-execution").await;
            let letters = page["deadLetters"].as_array()?.clone();
            (letters.len() == count as usize).then_some(letters)
        })
        .await;
        let cause = letters[0]["cause"].as_str().unwrap();
        assert_eq!(cause, "the listener panicked: cannot be executed");
    }
    let log = node.log();
    assert!(!log.contains("cannot be executed\nnote"), "the panic's own message is hidden: {log}");
    node.remove("panics-in-make", "discard").await;
    node.remove("hangs-in-make", "discard").await;
    wait::until("the node is whole again", async || {
        let ready = node.call(Method::GET, "/readyz?strict", None).await;
        (ready.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_that_panics_while_it_is_dropped_ends_no_loop() {
    let node = troublemaker().start().await;
    node.add(listener("panics-in-drop")).await;
    node.wait_listener("panics-in-drop", "running").await;
    node.remove("panics-in-drop", "discard").await;
    wait::until("the panic is in the log", async || {
        node.log().contains("panicked while it was dropped").then_some(())
    })
    .await;
    assert_eq!(node.call(Method::GET, "/livez", None).await.status, 200);
    // The supervisor goes on.
    node.add(listener("log")).await;
    node.wait_listener("log", "running").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_class_whose_check_hangs_refuses_its_listener_in_time_and_delays_no_other() {
    let node = troublemaker().start().await;
    let began = Instant::now();
    let (refused, added) = tokio::join!(
        node.call(Method::POST, "/listeners", Some(listener("hangs-in-check"))),
        async {
            let added = node.call(Method::POST, "/listeners", Some(listener("log"))).await;
            (added.status, began.elapsed())
        }
    );
    assert_eq!(refused.status, 422, "{}", refused.body);
    assert_eq!(refused.body["type"], "/problems/invalid-configuration");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("hangs-in-check") && detail.contains("within 5s"), "{detail}");
    assert!(began.elapsed() < Duration::from_secs(15), "{:?}", began.elapsed());
    assert_eq!(added.0, 201);
    assert!(added.1 < Duration::from_secs(4), "the other command waited {:?}", added.1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loop_that_panics_is_told_by_livez_and_ends_the_process_with_its_name() {
    let mut node = troublemaker().with(&["--shutdown-patience", "5s"]).start().await;
    // An execution that does not end keeps the node stopping for the whole patience.
    node.add(listener("hangs-in-execution")).await;
    node.wait_listener("hangs-in-execution", "running").await;
    assert_eq!(node.send("mailboxEvent", "e").await.status, 202);
    let broken = json!({"MailboxAdded": {"eventId": "b", "user": "bob"}});
    let sent = node.call(Method::POST, "/events/mailboxEvent?key=break", Some(broken)).await;
    assert_eq!(sent.status, 202, "{}", sent.body);
    let name = "the loop of the troublemaker";
    let told = wait::until("/livez tells it", async || {
        let answer = node.try_call(Method::GET, "/livez", None).await;
        let answer = answer.unwrap_or_else(|_| panic!("ended before it told:\n{}", node.log()));
        (answer.status == 503).then_some(answer.body)
    })
    .await;
    assert_eq!(told, json!({"status": "broken", "cause": format!("{name} panicked")}));
    let ended = || ready(node.process.exited());
    let status = wait::within(Duration::from_secs(40), "the process ends", ended).await;
    assert_eq!(status.code(), Some(1), "{}", node.log());
    let log = node.log();
    let last = log.lines().last().unwrap_or_default();
    assert!(last.contains(&format!("{name} panicked")), "the last line is {last:?} of:\n{log}");
}
