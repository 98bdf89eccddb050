//! `/events/{bus}/notifications`.

use crate::support::{
    connections,
    node::{Services, Setup, TOKEN},
    rest::{self, READ_TOKEN},
    services::VirtualHost,
};
use lapin::{
    BasicProperties, Connection, ConnectionProperties,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use serde_json::{Value, json};
use std::time::Duration;

/// A stream, read event by event.
struct Stream {
    answer: reqwest::Response,
    text: String,
}

impl Stream {
    async fn open(url: &str, query: &str, token: &str) -> Self {
        let url = format!("{url}/events/mailboxEvent/notifications?{query}");
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).bearer_auth(token).send().await.unwrap();
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        Self { answer, text: String::new() }
    }

    /// The next event's name and data; none at the end of the stream.
    async fn next(&mut self) -> Option<(String, Value)> {
        loop {
            while let Some((event, rest)) = self.text.split_once("\n\n") {
                let field = |name: &str| {
                    event.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
                };
                let (name, data) = (field("event: "), field("data: "));
                let rest = rest.to_owned();
                self.text = rest;
                if let Some(name) = name {
                    return Some((name, serde_json::from_str(&data.unwrap()).unwrap()));
                }
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.answer.chunk()).await;
            let chunk = chunk.expect("something within 30 seconds").ok().flatten()?;
            self.text.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }
}

/// Notifies as James would.
async fn notify(host: &VirtualHost, key: &str, id: &str) {
    let connection =
        Connection::connect(&host.amqp, ConnectionProperties::default()).await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(ConfirmSelectOptions::default()).await.unwrap();
    let body = json!({"MailboxAdded": {"eventId": id, "user": "bob"}}).to_string();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let (exchange, none) = ("hearken.mailboxEvent.keys".into(), BasicProperties::default());
    let confirm = channel.basic_publish(exchange, key.into(), options, body.as_bytes(), none).await;
    let confirmation = confirm.unwrap().await.unwrap();
    assert!(confirmation.is_ack() && confirmation.take_message().is_none(), "{key} is bound");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_is_told_of_its_keys_and_of_what_it_may_have_missed() {
    let (services, host) = Services::fresh().await;
    let mut node = Setup::cluster("n1", &services).start().await;
    node.wait_topology("converged").await;
    let mut stream = Stream::open(&node.url, "key=a%3A1&key=b%20é", TOKEN).await;
    notify(&host, "a:1", "6e0dd59d-660e-4d9b-b22f-0354479f47b4").await;
    let (name, data) = stream.next().await.unwrap();
    assert_eq!((name.as_str(), &data["keys"]), ("notification", &json!(["a:1"])));
    let event = &data["event"];
    assert_eq!(event["specversion"], "1.0", "{event}");
    assert_eq!(event["id"], "6e0dd59d-660e-4d9b-b22f-0354479f47b4");
    assert_eq!((&event["type"], &event["user"]), (&json!("MailboxAdded"), &json!("bob")));
    notify(&host, "b é", "7e0dd59d-660e-4d9b-b22f-0354479f47b4").await;
    assert_eq!(stream.next().await.unwrap().1["keys"], json!(["b é"]));
    connections::close_all(&host).await;
    assert_eq!(stream.next().await, Some(("resynchronise".into(), json!({}))));
    notify(&host, "a:1", "8e0dd59d-660e-4d9b-b22f-0354479f47b4").await;
    let (_, data) = stream.next().await.unwrap();
    assert_eq!(data["event"]["id"], "8e0dd59d-660e-4d9b-b22f-0354479f47b4");
    let (end, ()) = tokio::join!(stream.next(), node.terminate());
    assert_eq!(end, None, "the stream ends with its node");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_needs_a_token_a_bus_and_keys_that_are_keys() {
    let rest = rest::node().await;
    let mut stream = Stream::open(&rest.node.url, "key=a", READ_TOKEN).await;
    let path = "/events/mailboxEvent/notifications";
    let many: Vec<String> = (0..1001).map(|number| format!("key={number}")).collect();
    let long = format!("key={}", "k".repeat(256));
    for (query, words) in [
        ("", "is missing"),
        ("key=", "it is empty"),
        (long.as_str(), "it is too long"),
        ("key=a&key=hearken:topology", "one of hearken's own"),
        ("key=a%0Ab", "control character"),
        (many.join("&").as_str(), "at most 1000"),
    ] {
        let answer = rest.ask("GET", &format!("{path}?{query}")).send().await;
        assert_eq!((answer.status, answer.problem()), (400, "invalid-parameter"), "{query}");
        assert_eq!(answer.body["parameter"], "key");
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains(words), "{detail}");
    }
    let answer = rest.ask("GET", "/events/nowhere/notifications?key=a").send().await;
    assert_eq!((answer.status, answer.problem()), (404, "not-found"));
    assert!(answer.body["known"].as_array().unwrap().contains(&json!("mailboxEvent")));
    let answer = rest.ask("GET", &format!("{path}?key=a")).token(None).send().await;
    assert_eq!(answer.status, 401);
    let rest::Rest { mut node, .. } = rest;
    let (end, ()) = tokio::join!(stream.next(), node.terminate());
    assert_eq!(end, None);
}
