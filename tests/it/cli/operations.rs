//! `hearken nodes`, `tasks`, `health` and `events`.

use super::{end, fake::Fake, hearken, run, words};
use serde_json::Value;
use std::{io::Write, process::Stdio};

const TASK: &str = "6e0dd59d-660e-4d9b-b22f-0354479f47b4";

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_with_the_listeners_that_do_not_run() {
    let nodes = r#"{"nodes":[{"id":"n1","host":"h","version":"0.1.0","state":"degraded","startedAt":"2026-11-21T05:00:00Z","lastSeen":"2026-11-21T05:01:00Z","rosterVersion":7,
        "listeners":[{"group":"a","class":"log","state":"running","since":"2026-11-21T05:00:00Z"},{"group":"b","class":"gone","state":"unknown-class","cause":"this node knows no class gone","since":"2026-11-21T05:00:00Z"}]}]}"#;
    let server = Fake::start().await.json("GET /nodes", 200, nodes);
    let ended = run(&server, &["nodes"]);
    let shown = words(&ended.out);
    assert_eq!(shown[1][..5], ["n1", "h", "degraded", "0.1.0", "7"], "{}", ended.out);
    assert_eq!(shown[3], ["not", "running:"]);
    assert_eq!(shown[5][..4], ["n1", "b", "gone", "unknown-class"], "{}", ended.out);
    assert_eq!(shown.len(), 6, "a running listener is no trouble: {}", ended.out);
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_are_listed_shown_and_asked_to_stop() {
    let task = format!(
        r#"{{"taskId":"{TASK}","type":"topology-reconcile","status":"completed","submitDate":"2026-11-21T05:00:00.000+0000","additionalInformation":{{"type":"topology-reconcile","steps":[{{"action":"bind"}}]}}}}"#
    );
    let server = Fake::start()
        .await
        .json(
            "GET /tasks?status=completed&type=topology-reconcile&limit=5&offset=2",
            200,
            &format!("[{task}]"),
        )
        .json(&format!("GET /tasks/{TASK}"), 200, &task)
        .json(&format!("DELETE /tasks/{TASK}"), 204, "");
    let arguments = "tasks list --status completed --type topology-reconcile --limit 5 --offset 2";
    let listed = run(&server, &arguments.split(' ').collect::<Vec<_>>());
    assert_eq!(words(&listed.out)[1][..3], [TASK, "topology-reconcile", "completed"]);
    let shown = run(&server, &["tasks", "show", TASK]);
    assert_eq!(words(&shown.out)[0], ["taskId", TASK], "{}", shown.out);
    assert!(words(&shown.out).contains(&vec!["bind"]), "{}", shown.out);
    let stopped = run(&server, &["tasks", "cancel", TASK]);
    assert_eq!(stopped.out, format!("asked task {TASK} to stop\n"));
    assert_eq!(run(&server, &["tasks", "show", "7"]).code, Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn health_fails_when_a_component_is_unhealthy_and_names_it() {
    let unwell = r#"{"status":"unhealthy","checks":[{"componentName":"Listener topology","escapedComponentName":"Listener%20topology","status":"unhealthy","cause":"a queue is missing"}]}"#;
    let well = unwell.replace("unhealthy", "healthy").replace("\"a queue is missing\"", "null");
    let server = Fake::start()
        .await
        .json("GET /healthcheck", 200, &well)
        .json("GET /healthcheck?check=Listener+topology&strict=true", 503, unwell)
        .json("GET /healthcheck?check=Listener+topology&strict=true", 503, unwell)
        .problem("GET /healthcheck?check=x", 404, r#"{"type":"/problems/not-found","title":"Nothing there","detail":"Components with name x cannot be found","known":["Database"]}"#);
    assert_eq!(run(&server, &["health"]).code, Some(0));
    let strict = ["health", "--strict", "--check", "Listener topology"];
    let ended = run(&server, &strict);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.out.contains("a queue is missing"), "{}", ended.out);
    let json = run(&server, &[&strict[..], &["--output", "json"]].concat());
    assert_eq!((json.code, json.out), (Some(1), format!("{unwell}\n")));
    let unknown = run(&server, &["health", "--check", "x"]);
    assert_eq!(unknown.code, Some(3), "{unknown:?}");
    assert!(unknown.err.contains("known: Database"), "{}", unknown.err);
    assert!(
        !server.asked()[0].headers.contains_key("authorization"),
        "health is open, and works where the token cannot be read"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_made_from_flags() {
    let server = Fake::start().await.json("POST /events/mailboxEvent", 202, r#"{"eventId":"e-1"}"#);
    let arguments = "events send mailboxEvent --type demo --id e-1 --user bob --data {\"a\":1}";
    let ended = run(&server, &arguments.split(' ').collect::<Vec<_>>());
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "accepted e-1\n"), "{ended:?}");
    let asked = &server.asked()[0];
    assert_eq!(asked.headers["content-type"], "application/cloudevents+json");
    let event: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!([&event["id"], &event["type"], &event["user"]], ["e-1", "demo", "bob"]);
    assert_eq!(event["data"]["a"], 1);
    assert_eq!(event["source"], "urn:hearken:cli");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_read_from_a_file_or_from_standard_input_byte_for_byte() {
    let line = "POST /events/mailboxEvent";
    let server = Fake::start().await.json(line, 202, r#"{"eventIds":["1","2"]}"#).json(
        line,
        202,
        r#"{"eventId":"3"}"#,
    );
    let directory = tempfile::tempdir().unwrap();
    let batch = " [ {\"id\":\"1\"}, {\"id\":\"2\"} ]\n";
    std::fs::write(directory.path().join("batch.json"), batch).unwrap();
    let mut command = hearken(directory.path(), &["events", "send", "mailboxEvent", "batch.json"]);
    let ended = end(command.env("HEARKEN_URL", &server.url));
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "accepted 1, 2\n"), "{ended:?}");
    let arguments = ["events", "send", "mailboxEvent", "-", "--content-type", "application/json"];
    let mut command = hearken(directory.path(), &arguments);
    command.env("HEARKEN_URL", &server.url).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"Added\": {}}").unwrap();
    assert!(child.wait().unwrap().success());
    let asked = server.asked();
    assert_eq!(asked[0].body, batch);
    assert_eq!(asked[0].headers["content-type"], "application/cloudevents-batch+json");
    assert_eq!(asked[1].body, "{\"Added\": {}}");
    assert_eq!(asked[1].headers["content-type"], "application/json");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_with_wrong_arguments_is_not_sent() {
    let server = Fake::start().await;
    for arguments in [
        &["events", "send", "mailboxEvent"][..],
        &["events", "send", "mailboxEvent", "nowhere.json"],
        &["events", "send", "mailboxEvent", "--type", "t", "--data", "{"],
        &["events", "send", "mailboxEvent", "--data", "1"],
        &["events", "send", "mailboxEvent", "e.json", "--type", "t"],
        &["events", "send", "a bus", "--type", "t"],
    ] {
        let ended = run(&server, arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    }
    assert!(server.asked().is_empty());
}
