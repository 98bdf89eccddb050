//! `/cluster`.

use crate::support::rest;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn the_settings_of_the_cluster_are_shown_and_changed() {
    let rest = rest::node().await;
    let shown = rest.get("/cluster").await;
    assert_eq!((shown.header("etag"), &shown.body["changedIn"]), ("\"0\"", &json!(0)));
    assert_eq!(shown.body["changedBy"], "node:solo", "{}", shown.text);

    let body = json!({"retention": {"deadLetters": "2d"}, "reason": "CHG-1"});
    let change = |version: &str| {
        rest.ask("PUT", "/cluster").header("if-match", version).header("idempotency-key", "k")
    };
    let changed = change("\"0\"").json(&body).send().await;
    assert_eq!((changed.status, changed.header("etag")), (200, "\"1\""), "{}", changed.text);
    assert_eq!(changed.body["retention"]["deadLetters"], "2d");
    assert_eq!(changed.body["retention"]["tasks"]["count"], 10_000);
    let again = change("\"0\"").json(&body).send().await;
    assert_eq!((again.status, again.header("etag")), (200, "\"1\""), "{}", again.text);
    let stale = rest.ask("PUT", "/cluster").header("if-match", "\"0\"").json(&body).send().await;
    assert_eq!((stale.status, stale.problem()), (412, "stale-version"));
    let same = rest.ask("PUT", "/cluster").json(&body).send().await;
    assert_eq!((same.status, same.header("etag")), (200, "\"1\""), "{}", same.text);
    assert_eq!(rest.get("/listeners?atVersion=0").await.body["version"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_setting_of_the_cluster_is_refused_with_what_would_be_right() {
    let rest = rest::node().await;
    for (body, status, problem, text) in [
        (json!({"prefix": "b"}), 409, "cannot-change", "start a new cluster"),
        (json!({"reconcileInterval": "1ms"}), 422, "invalid-setting", "between 1s and 1d"),
        (json!({"retention": {"deadLetters": "1s"}}), 422, "invalid-setting", "36500d"),
        (json!({"queueType": "stream"}), 400, "invalid-body", "quorum"),
        (json!({"queue-type": "classic"}), 400, "invalid-body", "queueType"),
    ] {
        let answer = rest.ask("PUT", "/cluster").json(&body).send().await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{}", answer.text);
        assert!(answer.text.contains(text), "{}", answer.text);
    }
    assert_eq!(rest.get("/cluster").await.body["version"], 0);
}
