//! `hearken cluster`.

use super::{fake::Fake, run};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn only_the_given_settings_of_the_cluster_are_sent() {
    let answer = r#"{"version":4,"followUp":"migrate the queues"}"#;
    let server = Fake::start().await.json("PUT /cluster", 200, answer);
    let arguments = ["cluster", "set", "--queue-type", "classic", "--retain-tasks", "7d,50"];
    let quota = ["--dead-letter-quota", "9,1KiB", "--reason", "why"];
    let ended = run(&server, &[&arguments[..], &quota].concat());
    let expected = "changed the cluster; version 4\nleft to do: migrate the queues\n";
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), expected), "{ended:?}");
    let body: Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    let retention = json!({"tasks": {"age": "7d", "count": 50},
        "deadLetterQuota": {"entries": 9, "bytes": 1024}});
    assert_eq!(body, json!({"queueType": "classic", "retention": retention, "reason": "why"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_the_cluster_without_a_setting_is_a_wrong_use() {
    let server = Fake::start().await;
    let ended = run(&server, &["cluster", "set", "--reason", "why"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.err.contains("--queue-type"), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_the_cluster_are_shown_with_the_nodes_that_differ() {
    let answer = r#"{"version":4,"prefix":"hearken","queueType":"quorum","reconcile":"auto","reconcileInterval":"30s",
        "retention":{"deadLetters":"30d"},"changedIn":0,"changedAt":"2026-01-01T00:00:00Z","changedBy":"node:one",
        "differences":[{"node":"two","settings":["queue-type","prefix"]}]}"#;
    let server = Fake::start().await;
    let server = server.json("GET /cluster", 200, answer).json("GET /cluster", 200, answer);
    let ended = run(&server, &["cluster", "show"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for text in ["queueType", "quorum", "retention.deadLetters", "node:one", "queue-type, prefix"] {
        assert!(ended.out.contains(text), "{}", ended.out);
    }
    let ended = run(&server, &["cluster", "show", "--output", "json"]);
    assert_eq!(serde_json::from_str::<Value>(&ended.out).unwrap()["version"], 4, "{ended:?}");
}
