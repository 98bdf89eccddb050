//! `/tasks`.

use crate::support::rest;
use serde_json::{Value, json};

/// Starts a task that takes six seconds: deleting a kept queue, which must be seen empty twice.
async fn slow(rest: &rest::Rest) -> String {
    rest.add(json!({"class": "log", "group": "gone"})).await;
    assert_eq!(rest.ask("DELETE", "/listeners/gone?wait=30s").send().await.status, 204);
    let path = "/topology/queues/hearken.mailboxEvent.work.gone.v1";
    let consumed = async || {
        let answer = rest.ask("DELETE", path).send().await;
        (answer.status == 201).then(|| answer.body["taskId"].as_str().expect("an id").to_owned())
    };
    crate::support::wait::until("the kept queue may be deleted", consumed).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_is_shown_awaited_and_listed_as_james_does() {
    let rest = rest::node().await;
    let done = rest.task("POST", "/topology?action=reconcile").await;
    assert_eq!(
        (&done["type"], &done["status"]),
        (&json!("topology-reconcile"), &json!("completed"))
    );
    assert_eq!(done["additionalInformation"]["type"], "topology-reconcile");
    assert_eq!((&done["submittedBy"], &done["executedOn"]), (&json!("admin"), &json!("solo")));
    let date = done["completedDate"].as_str().unwrap();
    assert!(
        date.ends_with("+0000") && date.len() == "2026-11-21T05:00:00.000+0000".len(),
        "{date}"
    );
    let id = done["taskId"].as_str().unwrap();
    assert_eq!(rest.get(&format!("/tasks/{id}")).await.body, done);
    let listed = async |query: &str| {
        let tasks = rest.get(&format!("/tasks{query}")).await.body;
        tasks.as_array().unwrap().iter().map(|task| task["taskId"].clone()).collect::<Vec<Value>>()
    };
    assert_eq!(listed("").await, [id]);
    assert_eq!(listed("?status=completed&type=topology-reconcile").await, [id]);
    assert_eq!(
        listed("?submittedAfter=2020-01-01T00:00:00Z&failedBefore=2020-01-01T00:00:00Z").await,
        [""; 0]
    );
    assert_eq!(listed("?completedAfter=2020-01-01T00:00:00Z").await, [id]);
    assert_eq!(listed("?status=failed").await, [""; 0]);
    assert_eq!(listed("?offset=1").await, [""; 0]);
    rest.task("POST", "/topology?action=rebuild").await;
    assert_eq!(listed("?offset=1&limit=1").await, [id], "newest first");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_takes_longer_is_not_awaited_for_ever_and_can_be_canceled() {
    let rest = rest::node().await;
    let id = slow(&rest).await;
    let late = rest.ask("GET", &format!("/tasks/{id}/await?timeout=100ms")).send().await;
    assert_eq!((late.status, late.problem()), (408, "timeout"));
    assert_eq!(late.body["detail"], "The timeout has been reached");
    assert_eq!(rest.ask("DELETE", &format!("/tasks/{id}")).send().await.status, 204);
    let ended = rest.get(&format!("/tasks/{id}/await?timeout=30s")).await.body;
    assert_eq!(ended["status"], "canceled");
    assert!(ended["canceledDate"].is_string() && ended["cancelledFrom"].is_string(), "{ended}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_task_that_there_is_not_is_not_found_and_canceling_it_changes_nothing() {
    let rest = rest::node().await;
    let id = "6e0dd59d-660e-4d9b-b22f-0354479f47b4";
    for path in [format!("/tasks/{id}"), format!("/tasks/{id}/await?timeout=1s")] {
        let answer = rest.ask("GET", &path).send().await;
        assert_eq!(
            (answer.status, answer.body["detail"].as_str()),
            (404, Some(format!("{id} can not be found").as_str()))
        );
    }
    assert_eq!(rest.ask("DELETE", &format!("/tasks/{id}")).send().await.status, 204);
}
