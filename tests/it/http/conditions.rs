//! `If-Match`, `Idempotency-Key` and `wait`.

use crate::support::rest;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_command_on_a_stale_version_changes_nothing() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    let add = |version: &str| {
        let listener = json!({"class": "log", "group": "b"});
        rest.ask("POST", "/listeners").header("if-match", version).json(&listener)
    };
    let stale = add("\"0\"").send().await;
    assert_eq!((stale.status, stale.problem()), (412, "stale-version"));
    assert_eq!((&stale.body["expected"], &stale.body["found"]), (&json!(0), &json!(1)));
    assert_eq!(add("\"1\"").send().await.status, 201);
    let remove = rest.ask("DELETE", "/listeners/a").header("if-match", "\"1\"").send().await;
    assert_eq!((remove.status, remove.problem()), (412, "stale-version"));
    let remove = rest.ask("DELETE", "/listeners/a").header("if-match", "\"2\"").send().await;
    assert_eq!((remove.status, remove.header("etag")), (204, "\"3\""));
    let odd = add("2").send().await;
    assert_eq!((odd.status, odd.problem()), (400, "invalid-parameter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_sent_twice_under_one_key_is_executed_once() {
    let rest = rest::node().await;
    let add = async |path: &str, group: &str| {
        let listener = json!({"class": "log", "group": group});
        rest.ask("POST", path).header("idempotency-key", "k-1").json(&listener).send().await
    };
    let first = add("/listeners", "a").await;
    // How long one waits is not part of what one asks for.
    let again = add("/listeners?wait=5s", "a").await;
    assert_eq!((again.status, again.header("etag")), (201, first.header("etag")));
    assert_eq!(again.body["addedAt"], first.body["addedAt"]);
    let other = add("/listeners", "b").await;
    assert_eq!((other.status, other.problem()), (409, "command-reused"));
    for _ in 0..2 {
        let remove =
            rest.ask("DELETE", "/listeners/a").header("idempotency-key", "k-2").send().await;
        assert_eq!((remove.status, remove.header("etag")), (204, "\"2\""));
    }
    assert_eq!(rest.get("/listeners").await.body["version"], 2);
    let empty = rest.ask("DELETE", "/listeners/a").header("idempotency-key", "").send().await;
    assert_eq!((empty.status, empty.problem()), (400, "invalid-parameter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_no_length_of_time_or_too_long_is_refused_before_anything_changes() {
    let rest = rest::node().await;
    for wait in ["soon", "61s", "5", ""] {
        let path = format!("/listeners?wait={wait}");
        let answer = rest.ask("POST", &path).json(&json!({"class": "log"})).send().await;
        assert_eq!((answer.status, answer.problem()), (400, "invalid-parameter"), "{wait}");
    }
    assert_eq!(rest.get("/listeners").await.body["version"], 0);
}
