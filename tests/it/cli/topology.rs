//! `hearken topology`.

use super::{fake::Fake, hearken, run, words};
use std::{
    io::{BufRead, BufReader},
    process::Stdio,
};

const DRIFT: &str = r#"[ {"kind":"missing","object":"binding","name":"hearken.b -> hearken.b.work.g.v1 []","since":"2026-11-21T05:00:00Z","remedy":"bind"} ]"#;

fn topology() -> String {
    let queue = r#"{"name":"hearken.b.work.g.v1","durable":true}"#;
    let binding = r#"{"source":"hearken.b","destination_kind":"queue","destination":"hearken.b.work.g.v1","routing_key":"","arguments":{}}"#;
    format!(
        r#"{{"status":{{"rosterVersion":7,"reconciledVersion":6,"observedAt":"2026-11-21T05:00:00Z","state":"drifted"}},
        "desired":{{"exchanges":[],"queues":[{queue}],"bindings":[{binding}]}},
        "observed":{{"exchanges":[],"queues":[{queue}],"bindings":[]}},"drift":{DRIFT}}}"#
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_shown_with_every_desired_or_observed_object() {
    let server = Fake::start().await.json("GET /topology", 200, &topology());
    let ended = run(&server, &["topology", "show"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        words(&ended.out),
        [
            vec!["state", "drifted"],
            vec!["rosterVersion", "7"],
            vec!["reconciledVersion", "6"],
            vec!["observedAt", "2026-11-21T05:00:00Z"],
            vec!["drift", "1"],
            vec![],
            vec!["OBJECT", "NAME", "DESIRED", "OBSERVED"],
            vec!["binding", "hearken.b", "->", "hearken.b.work.g.v1", "[]", "yes", "no"],
            vec!["queue", "hearken.b.work.g.v1", "yes", "yes"],
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn drift_is_the_servers_own_part_of_the_topology() {
    let server = Fake::start()
        .await
        .json("GET /topology", 200, &topology())
        .json("GET /topology", 200, &topology())
        .json("GET /topology", 200, &topology().replace(DRIFT, "[]"));
    let table = run(&server, &["topology", "drift"]);
    assert_eq!(words(&table.out)[1][..3], ["missing", "binding", "hearken.b"], "{}", table.out);
    let json = run(&server, &["topology", "drift", "--output", "json"]);
    assert_eq!(json.out, format!("{DRIFT}\n"));
    assert_eq!(run(&server, &["topology", "drift"]).out, "no drift\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_are_listed_with_their_steps_and_the_next_page() {
    let step = r#"{"action":"bind","object":"binding","name":"b","class":"safe","reason":"r","outcome":"started"}"#;
    let pass = format!(
        r#"{{"id":7,"node":{{"id":"n1","host":"h"}},"startedAt":"2026-11-21T05:00:00Z","state":"interrupted","version":3,"steps":[{step}]}}"#
    );
    let page = format!(r#"{{"passes":[{pass}],"next":7}}"#);
    let server = Fake::start().await.json("GET /topology/passes?limit=1", 200, &page).json(
        "GET /topology/passes?after=7",
        200,
        r#"{"passes":[]}"#,
    );
    let first = run(&server, &["topology", "passes", "--limit", "1"]);
    assert_eq!(
        words(&first.out)[1],
        ["7", "2026-11-21T05:00:00Z", "n1", "interrupted", "bind", "b", "started"]
    );
    assert!(first.out.ends_with("continue with --after 7\n"), "{}", first.out);
    let last = run(&server, &["topology", "passes", "--after", "7"]);
    assert_eq!(last.out, "no pass changed anything\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_is_asked_for_without_changing_anything() {
    let step = r#"{"steps":[{"action":"bind","object":"binding","name":"n","class":"safe","reason":"it is missing"}]}"#;
    let line = "POST /topology?action=reconcile&dryRun=true";
    let server = Fake::start().await.json(line, 200, step).json(line, 200, r#"{"steps":[]}"#);
    let plan = run(&server, &["topology", "plan"]);
    assert_eq!(words(&plan.out)[1], ["bind", "binding", "n", "safe", "it", "is", "missing"]);
    assert_eq!(run(&server, &["topology", "plan"]).out, "nothing to do\n");
}

const TASK: &str = "6e0dd59d-660e-4d9b-b22f-0354479f47b4";

fn report(status: &str) -> String {
    format!(r#"{{"taskId":"{TASK}","type":"topology-reconcile","status":"{status}"}}"#)
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciling_waits_for_the_task_and_ends_with_its_result() {
    let taken = format!(r#"{{"taskId":"{TASK}"}}"#);
    let wait = format!("GET /tasks/{TASK}/await?timeout=25000ms");
    let timeout = r#"{"type":"/problems/timeout","title":"Took too long","status":408}"#;
    let server = Fake::start()
        .await
        .json("POST /topology?action=reconcile", 201, &taken)
        .problem(&wait, 408, timeout)
        .problem(&wait, 408, timeout)
        .json(&wait, 200, &report("completed"));
    let ended = run(&server, &["topology", "reconcile"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(words(&ended.out).contains(&vec!["status", "completed"]), "{}", ended.out);
    assert_eq!(server.asked().len(), 4);

    let server = Fake::start().await.json("POST /topology?action=rebuild", 201, &taken).json(
        &wait,
        200,
        &report("failed"),
    );
    let ended = run(&server, &["topology", "reconcile", "--rebuild", "--output", "json"]);
    assert_eq!((ended.code, ended.out), (Some(1), format!("{}\n", report("failed"))));
}

#[tokio::test(flavor = "multi_thread")]
async fn reconciling_can_return_before_the_task_ends() {
    let taken = format!(r#"{{"taskId":"{TASK}"}}"#);
    let server = Fake::start().await.json("POST /topology?action=reconcile", 201, &taken);
    let ended = run(&server, &["topology", "reconcile", "--no-wait"]);
    assert_eq!((ended.code, ended.out), (Some(0), format!("task {TASK}\n")));
    assert_eq!(server.lines(), ["POST /topology?action=reconcile"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn releasing_names_the_orphan_and_the_reason() {
    let line = "POST /topology/queues/hearken.b.work.g.v2?action=release&reason=CHG-7";
    let taken = format!(r#"{{"taskId":"{TASK}"}}"#);
    let server = Fake::start().await.json(line, 201, &taken);
    let arguments =
        ["topology", "release", "hearken.b.work.g.v2", "--reason", "CHG-7", "--no-wait"];
    let ended = run(&server, &arguments);
    assert_eq!((ended.code, ended.out), (Some(0), format!("task {TASK}\n")));
    assert_eq!(server.lines(), [line]);
}

#[tokio::test(flavor = "multi_thread")]
async fn watching_prints_each_change_and_continues_after_a_broken_stream() {
    let stream = "text/event-stream";
    let change = |version, id, what| {
        format!(
            "event: TopologyChanged\nid: {id}\ndata: {{\"bus\":\"b\",\"version\":{version},{what}}}\n\n"
        )
    };
    let first = format!(
        "id: log:6\nretry: 100\n\n: \n{}",
        change(7, "log:7", "\"added\":[\"g\"],\"removed\":[]")
    );
    let second = change(8, "log:8", "\"added\":[],\"removed\":[\"g\",\"h\"]");
    let third = "event: resync\nid: other:3\ndata: {\"version\":3}\n\n";
    let line = "GET /topology/changes";
    let server = Fake::start().await;
    let server = server.answer(line, 200, stream, &first).answer(line, 503, "text/plain", "away");
    let server = server.answer(line, 200, stream, &second).answer(line, 200, stream, third);

    let directory = tempfile::tempdir().unwrap();
    let mut command = hearken(directory.path(), &["topology", "watch", "--url", &server.url]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    let lines: Vec<String> = out.lines().take(3).map(Result::unwrap).collect();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        lines,
        [
            "version 7 bus b added g",
            "version 8 bus b removed g, h",
            "version 3 resync: the history was replaced by another; read the roster again",
        ]
    );
    let asked = server.asked();
    let id = |at: usize| asked[at].headers.get("last-event-id").map(|id| id.to_str().unwrap());
    assert_eq!([id(0), id(1), id(2), id(3)], [None, Some("log:7"), Some("log:7"), Some("log:8")]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_stream_is_not_asked_for_again() {
    let server = Fake::start().await.problem(
        "GET /topology/changes",
        401,
        r#"{"type":"/problems/unauthorized","title":"A token is needed"}"#,
    );
    assert_eq!(run(&server, &["topology", "watch"]).code, Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_listed_in_pages_with_what_to_do_about_each() {
    let page = |name: &str, next: &str| {
        format!(
            r#"{{"queues":[{{"name":"{name}","kind":"orphan","ready":3,"unacked":0,"consumers":0,"since":"2026-11-21T05:00:00Z","remedy":"add-group","advice":"add group g"}}]{next}}}"#
        )
    };
    let first = page("h.a.v1", r#","next":"h.a.v1""#);
    let server = Fake::start()
        .await
        .json("GET /topology/queues?kind=orphan&limit=1", 200, &first)
        .json("GET /topology/queues", 200, &first)
        .json("GET /topology/queues?after=h.a.v1", 200, &page("h.b.v1", ""));
    let cut = run(&server, &["topology", "queues", "--kind", "orphan", "--limit", "1"]);
    let lines = words(&cut.out);
    assert_eq!(lines[1][..3], ["orphan", "h.a.v1", "3"], "{}", cut.out);
    assert_eq!(lines[4], ["h.a.v1", "add", "group", "g"], "{}", cut.out);
    assert!(cut.out.contains("continue with --after h.a.v1"), "{}", cut.out);
    let all = run(&server, &["topology", "queues", "--all", "--output", "json"]);
    assert_eq!(all.out.lines().count(), 2, "{}", all.out);
}
