//! `hearken listeners change`, `pause`, `resume`, `diff` and the filters of `history`.

use super::{fake::Fake, run, words};
use serde_json::{Value, json};

const LISTENER: &str = r#"{"group":"g","class":"webhook","bus":"b","delivery":"once","mode":"async","concurrency":10,"timeout":"10m","retry":{"attempts":8,"first":"100ms","max":"10s","jitter":0.5},"configuration":{"url":"http://old","secret":{"env":"HEARKEN_SECRET_S"}},"generation":1,"required":false,"topology":"converged"}"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_change_keeps_the_settings_that_were_not_given() {
    let server = Fake::start().await;
    let server = server.json("GET /listeners/g", 200, LISTENER).json(
        "PUT /listeners/g?wait=5s",
        200,
        LISTENER,
    );
    let arguments = "listeners change g --set url=http://new --concurrency 3 --retry-attempts 2 \
        --reason why --wait 5s --idempotency-key k-1";
    let ended = run(&server, &arguments.split_whitespace().collect::<Vec<_>>());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.out, "changed g; topology converged\n");
    let asked = server.asked();
    let body: Value = serde_json::from_str(&asked[1].body).unwrap();
    let expected = json!({
        "class": "webhook", "mode": "async", "concurrency": 3, "timeout": "10m", "reason": "why",
        "retry": {"attempts": 2, "first": "100ms", "max": "10s", "jitter": 0.5},
        "configuration": {"url": "http://new", "secret": {"env": "HEARKEN_SECRET_S"}},
    });
    assert_eq!(body, expected);
    assert_eq!(asked[1].headers["idempotency-key"], "k-1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_paused_and_resumed() {
    let server = Fake::start().await;
    let server = server.json("POST /listeners/g?action=pause", 204, "").json(
        "POST /listeners/g?action=resume",
        204,
        "",
    );
    let ended = run(&server, &["listeners", "pause", "g", "--reason", "a rest"]);
    assert_eq!(
        (ended.code, ended.out.as_str()),
        (Some(0), "g is paused; its queue holds the events\n")
    );
    let ended = run(&server, &["listeners", "resume", "g"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "g is resumed\n"));
    let asked = server.asked();
    assert_eq!((asked[0].body.as_str(), asked[1].body.as_str()), (r#"{"reason":"a rest"}"#, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_difference_between_two_versions_is_a_table() {
    let state = |concurrency: u16, paused: bool| {
        let listener =
            json!({"group": "a", "class": "log", "bus": "b", "concurrency": concurrency});
        json!({"listener": listener, "paused": paused, "generation": 1})
    };
    let mut added = state(10, false);
    added["listener"]["group"] = json!("c");
    let diff = json!({
        "from": 2, "to": 6, "added": [added], "removed": [],
        "changed": [{"group": "a", "settings": ["concurrency", "paused"], "before": state(10, false), "after": state(3, true)}],
    });
    let line = "GET /listeners/diff?from=2&to=6";
    let server = Fake::start().await.json(line, 200, &diff.to_string());
    let ended = run(&server, &["listeners", "diff", "2", "6"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(
        words(&ended.out)[1..],
        [
            vec!["+", "c", "class", "log,", "bus", "b"],
            vec!["~", "a", "concurrency", "10", "3"],
            vec!["~", "a", "paused", "no", "yes"],
        ]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_filters_of_the_history_reach_the_server() {
    let line = "GET /listeners/history?group=g&actor=alice&since=2026-11-21T05%3A00%3A00Z&until=2026-11-22T05%3A00%3A00Z";
    let server = Fake::start().await.json(line, 200, r#"{"events":[]}"#);
    let arguments = "listeners history --group g --actor alice --since 2026-11-21T05:00:00Z --until 2026-11-22T05:00:00Z";
    let ended = run(&server, &arguments.split_whitespace().collect::<Vec<_>>());
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "no events\n"), "{ended:?}");
}
