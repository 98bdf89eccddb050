//! `/events/{bus}`.

use crate::support::{node::TOKEN, receiver::Receiver, rest};
use serde_json::{Value, json};
use std::time::Duration;

fn event(id: &str) -> Value {
    json!({"specversion": "1.0", "id": id, "source": "/test", "type": "Tested", "data": {"n": 1}})
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_every_form_reaches_the_listener() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    rest.add(receiver.listener("index")).await;
    let send = || rest.ask("POST", "/events/mailboxEvent");
    let structured = send().header("content-type", "application/cloudevents+json");
    let answer = structured.body(event("one").to_string()).send().await;
    assert_eq!((answer.status, &answer.body), (202, &json!({"eventId": "one"})));
    let batch = send().header("content-type", "application/cloudevents-batch+json");
    let answer = batch.body(json!([event("two"), event("three")]).to_string()).send().await;
    assert_eq!((answer.status, &answer.body), (202, &json!({"eventIds": ["two", "three"]})));
    let binary = send().header("ce-specversion", "1.0").header("ce-id", "four");
    let binary = binary.header("ce-source", "/test").header("ce-type", "Tested");
    let answer = binary.header("content-type", "application/json").body("{}").send().await;
    assert_eq!((answer.status, &answer.body), (202, &json!({"eventId": "four"})));
    let james = json!({"MailboxAdded": {"eventId": "five", "user": "bob"}});
    let answer = send().header("content-type", "text/plain").body(james.to_string()).send().await;
    assert_eq!((answer.status, &answer.body), (202, &json!({"eventId": "five"})));
    for id in ["one", "two", "three", "four", "five"] {
        receiver.wait_for(id).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_an_event_is_told_apart() {
    let rest = rest::node().await;
    let structured = "application/cloudevents+json";
    for (content_type, body, status, problem) in [
        (structured, "{", 400, "invalid-body"),
        (structured, "{\"id\": 1, \"id\": 2}", 400, "invalid-body"),
        (structured, "{}", 400, "invalid-event"),
        (structured, "[]", 400, "invalid-event"),
        ("application/cloudevents-batch+json", "{}", 400, "invalid-event"),
        ("application/json", "{\"NoSuch\": 1}", 400, "invalid-event"),
        ("application/xml", "<a/>", 415, "unsupported-media-type"),
    ] {
        let ask = rest.ask("POST", "/events/mailboxEvent").header("content-type", content_type);
        let answer = ask.body(body).send().await;
        assert_eq!((answer.status, answer.problem()), (status, problem), "{body}: {}", answer.text);
    }
    let none = rest.ask("POST", "/events/mailboxEvent").body(event("x").to_string()).send().await;
    assert_eq!((none.status, none.problem()), (415, "unsupported-media-type"));
    let nowhere = rest.ask("POST", "/events/nowhere").json(&json!({})).send().await;
    assert_eq!((nowhere.status, nowhere.problem()), (404, "not-found"));
    assert_eq!(nowhere.body["known"], json!(["jmapEvent", "mailboxEvent"]));
    let empty = rest
        .ask("POST", "/events/mailboxEvent")
        .header("content-type", "application/cloudevents-batch+json");
    assert_eq!(empty.body("[]").send().await.body, json!({"eventIds": []}));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_follows_a_key_is_told_of_events_that_have_it_and_of_no_others() {
    let rest = rest::node().await;
    let url = format!("{}/events/mailboxEvent/notifications?key=MailboxId:18", rest.node.url);
    let mut stream = rest.client.get(url).bearer_auth(TOKEN).send().await.expect("it answers");
    assert_eq!(stream.status(), 200);
    for (id, query) in
        [("keyless", ""), ("other", "?key=MailboxId:19"), ("followed", "?key=a&key=MailboxId%3A18")]
    {
        let send = rest.ask("POST", &format!("/events/mailboxEvent{query}"));
        let send = send.header("content-type", "application/cloudevents+json");
        assert_eq!(send.body(event(id).to_string()).send().await.status, 202, "{id}");
    }
    let mut told = String::new();
    while !told.contains("followed") {
        let chunk = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await;
        let chunk = chunk.expect("a notification in time").expect("the stream goes on");
        told.push_str(std::str::from_utf8(&chunk.expect("the stream goes on")).expect("text"));
    }
    assert!(!told.contains("keyless") && !told.contains("other"), "{told}");
}
