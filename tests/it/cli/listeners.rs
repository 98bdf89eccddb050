//! `hearken listeners` and `hearken classes`.

use super::{fake::Fake, run, words};
use serde_json::{Value, json};

/// An answer of a node with unusual spacing, which must come through unchanged.
const ROSTER: &str = r#"{ "version":7,
 "listeners" :[{"group":"search-index","class":"webhook","bus":"mailboxEvent","delivery":"once","mode":"async","concurrency":10,"timeout":"10m","retry":{"attempts":8,"first":"100ms","max":"1m"},"configuration":{"url":"http://indexer"},"generation":1,"required":false,"addedAt":"2026-11-21T05:00:00.123456Z","addedBy":"admin","addedOn":{"id":"n1","host":"h"},"reason":"CHG-1","topology":"converged","conditions":[{"type":"Ready","status":"true","reason":"consuming","message":"2 of 2 nodes consume","since":"2026-11-21T05:00:01Z","version":7},{"type":"Draining","status":"true","reason":"deletion-due","message":"queue hearken.mailboxEvent.work.search-index.v1 is deleted once its events may go","since":"2026-11-21T05:00:01Z","version":6}]}]}"#;

#[tokio::test(flavor = "multi_thread")]
async fn listeners_are_listed_in_a_table_or_in_the_servers_own_json() {
    let line = "GET /listeners?class=webhook&bus=mailboxEvent&atVersion=7";
    let server = Fake::start().await.json(line, 200, ROSTER).json(line, 200, ROSTER);
    let arguments =
        ["listeners", "list", "--class", "webhook", "--bus", "mailboxEvent", "--at-version", "7"];
    let table = run(&server, &arguments);
    assert_eq!((table.code, table.err.as_str()), (Some(0), ""), "{table:?}");
    assert_eq!(
        words(&table.out),
        [
            vec!["GROUP", "CLASS", "BUS", "DELIVERY", "STATE", "ADDED", "BY", "ADDED", "AT"],
            vec![
                "search-index",
                "webhook",
                "mailboxEvent",
                "once",
                "Ready,",
                "Draining",
                "admin",
                "2026-11-21T05:00:00Z"
            ],
            vec![],
            vec!["version", "7"],
        ]
    );
    assert!(table.out.lines().all(|line| line.chars().count() <= 100), "{}", table.out);
    let json = run(&server, &[&arguments[..], &["--output", "json"]].concat());
    assert_eq!(json.out, format!("{ROSTER}\n"));
    let asked = server.asked();
    assert_eq!(asked[0].headers["authorization"], "Bearer secret-token");
}

#[tokio::test(flavor = "multi_thread")]
async fn adding_a_listener_sends_only_the_given_settings() {
    let added = r#"{"group":"g","class":"webhook","bus":"b","topology":"pending"}"#;
    let server = Fake::start().await;
    let server = server.json("POST /listeners?wait=5s", 201, added).json(
        "POST /listeners",
        201,
        &added.replace("pending", "converged"),
    );
    let arguments = "listeners add --class webhook --group g --bus b --delivery once --mode sync \
        --concurrency 3 --timeout 30s --retry-attempts 2 --retry-first 1s --retry-max 2m \
        --set url=http://indexer --set n=3 --reason why --wait 5s --idempotency-key k-1";
    let ended = run(&server, &arguments.split_whitespace().collect::<Vec<_>>());
    assert_eq!(ended.code, Some(5), "{ended:?}");
    assert_eq!(ended.out, "added g (class webhook, bus b); topology pending\n");
    assert!(ended.err.contains("hearken listeners show"), "{}", ended.err);
    let ended = run(&server, &["listeners", "add", "--class", "log"]);
    assert_eq!((ended.code, ended.err.as_str()), (Some(0), ""), "{ended:?}");
    let bodies: Vec<Value> =
        server.asked().iter().map(|asked| serde_json::from_str(&asked.body).unwrap()).collect();
    let whole = json!({
        "class": "webhook", "group": "g", "bus": "b", "delivery": "once", "mode": "sync",
        "concurrency": 3, "timeout": "30s", "reason": "why",
        "retry": {"attempts": 2, "first": "1s", "max": "2m"},
        "configuration": {"url": "http://indexer", "n": 3},
    });
    assert_eq!(bodies, [whole, json!({"class": "log"})]);
    let asked = server.asked();
    assert_eq!(asked[0].headers["idempotency-key"], "k-1");
    assert_eq!(asked[0].headers["content-type"], "application/json");
    assert!(!asked[1].headers.contains_key("idempotency-key"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_can_come_from_a_file_and_only_from_one_place() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("c.json");
    std::fs::write(&file, r#"{"url":"http://a"}"#).unwrap();
    let file = file.to_str().unwrap();
    let server = Fake::start().await.json("POST /listeners", 201, "{}");
    let add = ["listeners", "add", "--class", "webhook", "--configuration-file", file];
    assert_eq!(run(&server, &add).code, Some(0));
    assert!(server.asked()[0].body.contains(r#"{"url":"http://a"}"#));
    for more in [["--set", "a=1"], ["--configuration", "{}"]] {
        let ended = run(&server, &[&add[..], &more[..]].concat());
        assert_eq!(ended.code, Some(2), "{ended:?}");
    }
    assert_eq!(server.asked().len(), 1, "refused commands send nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn removing_a_listener_says_what_happens_to_its_events() {
    let server = Fake::start().await.json("DELETE /listeners/g", 204, "").json(
        "DELETE /listeners/g?pending=drain&reason=old+one&wait=2s",
        204,
        "",
    );
    let ended = run(&server, &["listeners", "remove", "g"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        ended.out,
        "removed g; its pending events are kept until the group is added again\n"
    );
    let arguments =
        ["listeners", "remove", "g", "--pending", "drain", "--reason", "old one", "--wait", "2s"];
    let ended = run(&server, &[&arguments[..], &["--output", "json"]].concat());
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), ""), "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_removal_that_the_broker_did_not_follow_in_time_has_its_own_exit_code() {
    let line = "DELETE /listeners/g?wait=2s";
    let server = Fake::start().await.removed(line, "pending").removed(line, "converged");
    let arguments = ["listeners", "remove", "g", "--wait", "2s"];
    let late = run(&server, &arguments);
    assert_eq!(late.code, Some(5), "{late:?}");
    assert!(late.out.contains("the broker has not followed yet"), "{late:?}");
    let done = run(&server, &arguments);
    assert_eq!((done.code, done.out.contains("not followed")), (Some(0), false), "{done:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_drain_is_waited_for_until_its_queue_is_deleted() {
    let server = Fake::start()
        .await
        .removed("DELETE /listeners/g?pending=drain&wait=1m", "pending")
        .json(
            "GET /topology/queues?kind=draining",
            200,
            r#"{"queues":[{"group":"g","tombstone":{"version":4}}]}"#,
        )
        .json("GET /topology/queues?kind=draining", 503, "{}")
        .json("GET /topology/queues?kind=draining", 200, r#"{"queues":[]}"#);
    let arguments = ["listeners", "remove", "g", "--pending", "drain", "--wait", "1h"];
    let ended = run(&server, &arguments);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "removed g; its pending events are consumed, and its queue is deleted\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_shown_with_its_state_on_each_node() {
    let listener = r#"{"group":"g","class":"log","retry":{"attempts":8},"reason":null,"backlog":{"ready":2,"unacked":0,"consumers":1},
        "nodes":[{"id":"n1","state":"running","since":"2026-11-21T05:00:00Z"},{"id":"n2","state":"unknown-class","cause":"no class log"}]}"#;
    let server = Fake::start().await.json("GET /listeners/g", 200, listener);
    let ended = run(&server, &["listeners", "show", "g"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let shown = words(&ended.out);
    assert_eq!(shown[0], ["group", "g"]);
    for expected in [
        vec!["backlog.ready", "2"],
        vec!["retry.attempts", "8"],
        vec!["n1", "2026-11-21T05:00:00Z", "running"],
        vec!["n2", "unknown-class", "no", "class", "log"],
    ] {
        assert!(shown.contains(&expected), "{expected:?} in\n{}", ended.out);
    }
}

fn page(version: u64, next: Option<u64>) -> String {
    let event = json!({
        "version": version, "type": "ListenerRemoved", "group": "g", "pending": "drain",
        "actor": "admin", "node": {"id": "n1", "host": "h"}, "reason": "CHG-1",
        "recordedAt": "2026-11-21T05:00:00.5Z", "eventId": "e", "requestId": null,
    });
    let mut page = json!({"events": [event]});
    if let Some(next) = next {
        page["next"] = next.into();
    }
    page.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn history_goes_page_by_page_or_on_to_the_end() {
    let first = "GET /listeners/history?limit=1";
    let server = Fake::start()
        .await
        .json(first, 200, &page(1, Some(1)))
        .json(first, 200, &page(1, Some(1)))
        .json("GET /listeners/history?after=1&limit=1", 200, &page(2, None));
    let one = run(&server, &["listeners", "history", "--limit", "1"]);
    assert_eq!(one.code, Some(0), "{one:?}");
    let row =
        ["1", "2026-11-21T05:00:00Z", "ListenerRemoved", "g", "drain", "admin", "n1", "CHG-1"];
    assert_eq!(words(&one.out)[1], row);
    assert!(
        one.out.ends_with("continue with --after 1, or list everything with --all\n"),
        "{}",
        one.out
    );
    let all = ["listeners", "history", "--limit", "1", "--all", "--output", "json"];
    let all = run(&server, &all);
    assert_eq!(all.out, format!("{}\n{}\n", page(1, Some(1)), page(2, None)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_names_the_bus_of_an_event_about_a_bus() {
    let event = json!({
        "version": 1, "type": "BusAdded", "bus": {"name": "orders"}, "actor": "admin",
        "node": {"id": "n1"}, "reason": null, "recordedAt": "2026-11-21T05:00:00.5Z",
    });
    let page = json!({"events": [event]}).to_string();
    let server = Fake::start().await.json("GET /listeners/history", 200, &page);
    let ended = run(&server, &["listeners", "history"]);
    let row = ["1", "2026-11-21T05:00:00Z", "BusAdded", "orders", "admin", "n1"];
    assert_eq!(words(&ended.out)[1], row, "{ended:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_does_not_advance_is_an_error() {
    let server = Fake::start().await.json("GET /listeners/history?after=5", 200, &page(5, Some(5)));
    let ended = run(&server, &["listeners", "history", "--after", "5", "--all"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.err.contains("does not advance"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn classes_are_listed() {
    let classes = r#"{"classes":[{"class":"log","source":"built-in","description":"Writes each event to the log.","configuration":{"type":"object"}}]}"#;
    let server = Fake::start().await.json("GET /classes", 200, classes);
    let ended = run(&server, &["classes"]);
    assert_eq!(
        words(&ended.out)[1],
        ["log", "built-in", "Writes", "each", "event", "to", "the", "log."]
    );
}
