//! `hearken buses`.

use super::{fake::Fake, run};
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread")]
async fn an_added_bus_is_attached_when_an_exchange_is_given() {
    let server = Fake::start().await.json("POST /buses", 201, r#"{"name":"james"}"#);
    let arguments =
        ["buses", "add", "james", "--codec", "james", "--exchange", "e", "--reason", "why"];
    let ended = run(&server, &arguments);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "added bus james\n"), "{ended:?}");
    let body: Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    let expected = json!({"name": "james", "codec": "james", "attached": true, "exchange": "e",
        "reason": "why"});
    assert_eq!(body, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn buses_are_listed_with_their_listeners_and_authors() {
    let answer = r#"{"version":3,"buses":[{"name":"billing","codec":"json","attached":false,"listeners":2,"addedAt":"2026-01-01T00:00:00Z","addedBy":"admin"}]}"#;
    let server = Fake::start().await.json("GET /buses", 200, answer);
    let ended = run(&server, &["buses", "list"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for word in ["billing", "json", "2", "admin"] {
        assert!(ended.out.contains(word), "{}", ended.out);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_is_changed_and_removed() {
    let server = Fake::start().await.json("PUT /buses/billing", 200, r#"{"name":"billing"}"#);
    let server = server.json("DELETE /buses/billing?reason=why", 204, "");
    let ended = run(&server, &["buses", "change", "billing", "--codec", "msgpack"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "changed bus billing\n"), "{ended:?}");
    let body: Value = serde_json::from_str(&server.asked()[0].body).unwrap();
    assert_eq!(body["codec"], "msgpack");
    let ended = run(&server, &["buses", "remove", "billing", "--reason", "why"]);
    assert_eq!((ended.code, ended.out.as_str()), (Some(0), "removed bus billing\n"), "{ended:?}");
}
