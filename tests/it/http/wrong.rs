//! Requests that are wrong.

use crate::support::rest::{self, READ_TOKEN};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_cannot_be_used_says_where_and_why() {
    let rest = rest::node().await;
    let deep = format!(
        "{{\"class\":\"log\",\"configuration\":{}{}}}",
        "{\"a\":".repeat(100),
        "1".to_owned() + &"}".repeat(100)
    );
    for (body, member, value) in [
        ("{\"class\": \"log\",}", "line", json!(1)),
        ("{\"class\": \"log\", \"class\": \"x\"}", "line", json!(1)),
        (deep.as_str(), "line", json!(1)),
        ("", "type", json!("/problems/invalid-body")),
        ("[]", "pointer", json!("")),
        ("{\"class\": 5}", "pointer", json!("/class")),
        ("{\"group\": \"a\"}", "pointer", json!("/class")),
        ("{\"class\": \"log\", \"clazz\": 1}", "pointer", json!("/clazz")),
        (
            "{\"class\": \"log\", \"retry\": {\"attempts\": \"x\"}}",
            "pointer",
            json!("/retry/attempts"),
        ),
        ("{\"class\": \"log\", \"retry\": {\"tries\": 1}}", "pointer", json!("/retry/tries")),
        ("{\"class\": \"log\", \"mode\": \"fast\"}", "pointer", json!("/mode")),
        ("{\"class\": \"log\", \"reason\": \"\\u0000\"}", "pointer", json!("/reason")),
    ] {
        let ask = rest.ask("POST", "/listeners").header("content-type", "application/json");
        let answer = ask.body(body).send().await;
        assert_eq!((answer.status, answer.problem()), (400, "invalid-body"), "{}", answer.text);
        assert_eq!(answer.body[member], value, "{}", answer.text);
    }
    let bytes = b"{\"class\": \"\xff\"}".to_vec();
    assert_eq!(rest.ask("POST", "/listeners").body(bytes).send().await.problem(), "invalid-body");
    // PostgreSQL cannot keep NUL, so it is refused on every database.
    let nul = json!({"class": "log", "configuration": {"\0": 1}});
    let answer = rest.ask("POST", "/listeners").json(&nul).send().await;
    assert!(matches!(answer.status, 400 | 422), "{}", answer.text);
    let form =
        rest.ask("POST", "/listeners").header("content-type", "application/x-www-form-urlencoded");
    let answer = form.body("class=log").send().await;
    assert_eq!((answer.status, answer.problem()), (415, "unsupported-media-type"));
    assert_eq!(rest.get("/listeners").await.body["version"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_above_the_limit_is_refused() {
    let rest = rest::node().await;
    let answer = rest.ask("POST", "/listeners").body(vec![b' '; 1024 * 1024 + 1]).send().await;
    assert_eq!((answer.status, answer.problem()), (413, "body-too-large"));
    assert_eq!(answer.body["limit"], 1024 * 1024);
    let answer = rest.ask("POST", "/events/mailboxEvent").body(vec![b' '; 2_000_000]).send().await;
    assert_eq!((answer.status, answer.problem()), (413, "body-too-large"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_that_cannot_be_used_names_the_parameter() {
    let rest = rest::node().await;
    for (method, path, parameter) in [
        ("GET", "/listeners?clas=log", "clas"),
        ("GET", "/listeners?class=a%20b", "class"),
        ("GET", "/listeners?class=a&class=b", "class"),
        ("GET", "/listeners?class=%ff", "class"),
        ("GET", "/listeners?class=%4", "class"),
        ("GET", "/listeners?atVersion=-1", "atVersion"),
        ("GET", "/listeners/history?limit=0", "limit"),
        ("GET", "/listeners/history?limit=1001", "limit"),
        ("GET", "/listeners/history?after=x", "after"),
        ("DELETE", "/listeners/a?pending=burn", "pending"),
        ("DELETE", "/listeners/a?reason=%00", "reason"),
        ("GET", "/tasks?status=done", "status"),
        ("GET", "/tasks?submittedAfter=yesterday", "submittedAfter"),
        ("GET", "/tasks/x", "id"),
        ("GET", "/tasks/6e0dd59d-660e-4d9b-b22f-0354479f47b4/await?timeout=0s", "timeout"),
        ("GET", "/topology/changes?after=x", "after"),
        ("POST", "/topology?action=reconcile&dryRun=maybe", "dryRun"),
        ("POST", "/topology?action=rebuild&dryRun", "dryRun"),
        ("POST", "/events/mailboxEvent?key=a&key=hearken:topology", "key"),
        ("POST", "/events/mailboxEvent?key=", "key"),
        ("POST", "/events/mailboxEvent?keys=x", "keys"),
        ("GET", "/healthcheck?strict=perhaps", "strict"),
        ("GET", "/livez?verbose", "verbose"),
        ("GET", "/listeners/%ff", "path"),
    ] {
        let answer = rest.ask(method, path).send().await;
        assert_eq!(
            (answer.status, answer.problem()),
            (400, "invalid-parameter"),
            "{path}: {}",
            answer.text
        );
        assert_eq!(answer.body["parameter"], parameter, "{path}: {}", answer.text);
    }
    let name = rest.ask("GET", "/listeners/%2Ehidden").send().await;
    assert_eq!((name.status, name.problem()), (400, "invalid-name"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_that_is_missing_blank_or_unknown_is_refused_in_james_words() {
    let rest = rest::node().await;
    for (path, detail) in [
        (
            "/topology",
            "'action' query parameter is compulsory. Supported values are [reconcile, rebuild]",
        ),
        (
            "/topology?action=",
            "'action' query parameter cannot be empty or blank. Supported values are [reconcile, rebuild]",
        ),
        (
            "/topology?action=x",
            "Invalid value supplied for query parameter 'action': x. Supported values are [reconcile, rebuild]",
        ),
        (
            "/topology/queues/q",
            "'action' query parameter is compulsory. Supported values are [migrate, release]",
        ),
    ] {
        let answer = rest.ask("POST", path).send().await;
        assert_eq!((answer.status, answer.body["detail"].as_str()), (400, Some(detail)), "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_path_or_method_is_a_problem() {
    let rest = rest::node().await;
    let answer = rest.ask("GET", "/nowhere?x").send().await;
    assert_eq!((answer.status, answer.problem()), (404, "not-found"));
    assert_eq!(answer.body["detail"], "GET /nowhere?x can not be found");
    let answer = rest.ask("PUT", "/listeners").send().await;
    assert_eq!((answer.status, answer.problem()), (405, "method-not-allowed"));
    assert_eq!(answer.header("allow"), "GET,HEAD,POST");
    let answer = rest.ask("HEAD", "/listeners").send().await;
    assert_eq!((answer.status, answer.text.as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_id_is_kept_where_it_is_plain_and_named_in_the_problem() {
    let rest = rest::node().await;
    let answer = rest.ask("GET", "/listeners/absent").header("x-request-id", "abc-1").send().await;
    assert_eq!(answer.header("x-request-id"), "abc-1");
    assert_eq!(answer.body["instance"], "urn:request:abc-1");
    let odd = rest.ask("GET", "/livez").header("x-request-id", "a b").send().await;
    assert_ne!(odd.header("x-request-id"), "a b");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_decides_what_its_caller_may_do() {
    let rest = rest::node().await;
    let answer = rest.ask("GET", "/listeners").token(None).send().await;
    assert_eq!((answer.status, answer.problem()), (401, "unauthorized"));
    assert_eq!(answer.header("www-authenticate"), "Bearer");
    assert_eq!(rest.ask("GET", "/listeners").token(Some("wrong")).send().await.status, 401);
    assert_eq!(rest.ask("GET", "/listeners").token(Some(READ_TOKEN)).send().await.status, 200);
    for (method, path) in [
        ("POST", "/listeners"),
        ("DELETE", "/listeners/a"),
        ("POST", "/events/mailboxEvent"),
        ("POST", "/topology?action=reconcile&dryRun"),
        ("DELETE", "/tasks/6e0dd59d-660e-4d9b-b22f-0354479f47b4"),
    ] {
        let answer = rest.ask(method, path).token(Some(READ_TOKEN)).json(&Value::Null).send().await;
        assert_eq!((answer.status, answer.problem()), (403, "forbidden"), "{method} {path}");
    }
    for path in
        ["/livez", "/readyz", "/healthcheck", "/healthcheck/checks", "/metrics", "/openapi.yaml"]
    {
        assert_eq!(rest.ask("GET", path).token(None).send().await.status, 200, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_never_finishes_its_request_is_let_go() {
    let rest = rest::node().await;
    let address = rest.node.url.strip_prefix("http://").unwrap().to_owned();
    let closed = async |begun: &[u8]| {
        let mut stream = TcpStream::connect(&address).await.unwrap();
        stream.write_all(begun).await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer);
        assert!(timeout(Duration::from_secs(90), end).await.is_ok(), "{begun:?} is still served");
    };
    tokio::join!(closed(b""), closed(b"GET /livez HTTP/1.1\r\nHost: a\r\nX-Slow: "));
}
