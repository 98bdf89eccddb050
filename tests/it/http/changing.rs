//! Change, pause and resumption of listeners, and what the history tells of them.

use crate::support::{
    rest::{self, Rest, RestAnswer},
    wait,
};
use serde_json::{Value, json};

async fn put(rest: &Rest, group: &str, body: &Value) -> RestAnswer {
    rest.ask("PUT", &format!("/listeners/{group}")).json(body).send().await
}

async fn act(rest: &Rest, group: &str, action: &str) -> RestAnswer {
    rest.ask("POST", &format!("/listeners/{group}?action={action}")).send().await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_replaces_the_settings_and_keeps_the_queue() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a", "bus": "jmapEvent", "reason": "first"})).await;
    let body = json!({"class": "log", "concurrency": 3, "reason": "CHG-2"});
    let answer = rest
        .ask("PUT", "/listeners/a?wait=5s")
        .header("if-match", "\"1\"")
        .json(&body)
        .send()
        .await;
    assert_eq!((answer.status, answer.header("etag")), (200, "\"2\""), "{}", answer.text);
    for (member, value) in [
        ("bus", json!("jmapEvent")),
        ("concurrency", json!(3)),
        ("generation", json!(1)),
        ("paused", json!(false)),
        ("addedBy", json!("admin")),
        ("changedBy", json!("admin")),
        ("reason", json!("CHG-2")),
        ("topology", json!("converged")),
    ] {
        assert_eq!(answer.body[member], value, "{member}");
    }
    assert!(answer.body["changedAt"].is_string());
    let same = put(&rest, "a", &json!({"class": "log", "concurrency": 3})).await;
    assert_eq!((same.status, same.header("etag")), (200, "\"2\""), "{}", same.text);
    assert_eq!(same.body["reason"], "CHG-2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_cannot_be_made_is_refused_with_what_would_be_right() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    for (body, status, problem) in [
        (json!({"class": "log", "bus": "jmapEvent"}), 409, "cannot-change"),
        (json!({"class": "log", "delivery": "every-node"}), 409, "cannot-change"),
        (json!({"class": "nope"}), 422, "unknown-class"),
        (json!({"class": "webhook"}), 422, "invalid-configuration"),
        (json!({"class": "log", "concurrency": 0}), 422, "invalid-setting"),
        (json!({"class": "log", "group": "b"}), 400, "invalid-body"),
        (json!({"concurrency": 3}), 400, "invalid-body"),
    ] {
        let answer = put(&rest, "a", &body).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{}", answer.text);
    }
    let moved = put(&rest, "a", &json!({"class": "log", "bus": "jmapEvent"})).await;
    assert_eq!(moved.body["setting"], "bus");
    assert!(moved.body["detail"].as_str().unwrap().contains("another group"), "{}", moved.text);
    let absent = put(&rest, "nobody", &json!({"class": "log"})).await;
    assert_eq!((absent.status, absent.problem()), (404, "not-configured"));
    let stale = rest.ask("PUT", "/listeners/a").header("if-match", "\"9\"");
    let stale = stale.json(&json!({"class": "log", "concurrency": 2})).send().await;
    assert_eq!((stale.status, stale.problem()), (412, "stale-version"));
    assert_eq!(rest.get("/listeners").await.body["version"], 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_sent_twice_under_one_key_has_the_answer_of_the_first() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    let change = async |concurrency: u16| {
        let body = json!({"class": "log", "concurrency": concurrency});
        rest.ask("PUT", "/listeners/a").header("idempotency-key", "k").json(&body).send().await
    };
    assert_eq!(change(2).await.header("etag"), "\"2\"");
    put(&rest, "a", &json!({"class": "log", "concurrency": 7})).await;
    let again = change(2).await;
    assert_eq!((again.status, again.header("etag")), (200, "\"2\""));
    assert_eq!(again.body["concurrency"], 2);
    assert_eq!(rest.get("/listeners/a").await.body["concurrency"], 7);
    let other = change(3).await;
    assert_eq!((other.status, other.problem()), (409, "command-reused"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_is_paused_and_resumed_with_a_reason() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    let why = json!({"reason": "a rest"});
    let paused = rest.ask("POST", "/listeners/a?action=pause").json(&why).send().await;
    assert_eq!((paused.status, paused.header("etag")), (204, "\"2\""), "{}", paused.text);
    rest.node.wait_listener("a", "paused").await;
    let shown = rest.get("/listeners/a").await.body;
    assert_eq!((&shown["paused"], &shown["reason"]), (&json!(true), &json!("a rest")));
    assert_eq!(act(&rest, "a", "pause").await.header("etag"), "\"2\"");
    for (action, state) in [("resume", "running"), ("pause", "paused")] {
        let path = format!("/listeners/a?action={action}&wait=30s");
        let followed = rest.ask("POST", &path).send().await;
        assert_eq!((followed.status, followed.header("hearken-nodes")), (204, "followed"));
        let nodes = rest.get("/nodes").await.body;
        assert_eq!(nodes["nodes"][0]["listeners"][0]["state"], state, "{nodes}");
    }
    assert_eq!(act(&rest, "a", "resume").await.header("etag"), "\"5\"");
    rest.node.wait_listener("a", "running").await;
    for (group, action, status, problem) in [
        ("nobody", "pause", 404, "not-configured"),
        ("nobody", "resume", 404, "not-configured"),
        ("a", "sleep", 400, "invalid-parameter"),
    ] {
        let answer = act(&rest, group, action).await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_listener_is_not_paused_and_its_difference_is_told() {
    let file = "[[required]]\nclass = \"log\"\ngroup = \"needed\"\n";
    let rest = Rest::new(rest::setup().with_file(file).start().await);
    let refused = act(&rest, "needed", "pause").await;
    assert_eq!((refused.status, refused.problem()), (409, "required-here"));
    let check = "/healthcheck/checks/Listeners%20on%20this%20node";
    assert_eq!(rest.get(check).await.body["status"], "healthy");
    let changed = put(&rest, "needed", &json!({"class": "log", "concurrency": 3})).await;
    assert_eq!(changed.status, 200, "{}", changed.text);
    let health = wait::until("health is computed again", async || {
        Some(rest.get(check).await.body).filter(|check| check["status"] == "degraded")
    })
    .await;
    let cause = health["cause"].as_str().unwrap();
    assert!(cause.contains("needed") && cause.contains("concurrency"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_versions_of_the_roster_are_compared() {
    let rest = rest::node().await;
    for group in ["a", "b"] {
        rest.add(json!({"class": "log", "group": group})).await;
    }
    put(&rest, "a", &json!({"class": "log", "concurrency": 3})).await;
    act(&rest, "a", "pause").await;
    rest.ask("DELETE", "/listeners/b").send().await;
    rest.add(json!({"class": "log", "group": "c"})).await;
    let diff = rest.get("/listeners/diff?from=2").await.body;
    assert_eq!((&diff["from"], &diff["to"]), (&json!(2), &json!(6)));
    assert_eq!(diff["added"][0]["listener"]["group"], "c");
    assert_eq!(diff["removed"][0]["listener"]["group"], "b");
    let changed = &diff["changed"][0];
    assert_eq!(changed["settings"], json!(["concurrency", "paused"]));
    assert_eq!(changed["before"]["listener"]["concurrency"], 10);
    assert_eq!(
        (&changed["after"]["paused"], diff["changed"].as_array().unwrap().len()),
        (&json!(true), 1)
    );
    let back = rest.get("/listeners/diff?from=6&to=0").await.body;
    assert_eq!(back["removed"].as_array().unwrap().len(), 2);
    let future = rest.ask("GET", "/listeners/diff?from=1&to=7").send().await;
    assert_eq!((future.status, future.problem()), (404, "not-found"));
    let without = rest.ask("GET", "/listeners/diff").send().await;
    assert_eq!((without.status, without.problem()), (400, "invalid-parameter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_history_is_filtered_by_group_actor_and_time() {
    let rest = rest::node().await;
    for group in ["a", "b"] {
        rest.add(json!({"class": "log", "group": group})).await;
    }
    act(&rest, "a", "pause").await;
    let versions = async |query: &str| {
        let body = rest.get(&format!("/listeners/history?{query}")).await.body;
        let events = body["events"].as_array().unwrap().clone();
        let versions: Vec<_> =
            events.iter().map(|event| event["version"].as_u64().unwrap()).collect();
        (versions, body["next"].as_u64())
    };
    assert_eq!(versions("group=a").await, (vec![1, 3], None));
    assert_eq!(versions("group=a&limit=1").await, (vec![1], Some(1)));
    assert_eq!(versions("group=a&limit=1&after=1").await, (vec![3], None));
    assert_eq!(versions("actor=admin").await, (vec![1, 2, 3], None));
    assert_eq!(versions("actor=stranger").await, (vec![], None));
    let second = rest.get("/listeners/history").await.body["events"][1]["recordedAt"].clone();
    let second = second.as_str().unwrap();
    assert_eq!(versions(&format!("since={second}")).await, (vec![2, 3], None));
    assert_eq!(versions(&format!("until={second}")).await, (vec![1], None));
    let wrong = rest.ask("GET", "/listeners/history?since=yesterday").send().await;
    assert_eq!((wrong.status, wrong.problem()), (400, "invalid-parameter"));
}
