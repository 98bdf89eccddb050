//! The webhook class against real receivers on loopback.
#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

mod limits;

use axum::{
    Router,
    body::Bytes,
    extract::{ConnectInfo, State},
    http::{HeaderMap, HeaderValue, StatusCode},
    response::{IntoResponse, Response},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use hearken::{
    bus::{
        Execution, Failure,
        codec::{CLOUDEVENTS_JSON, decode},
        event::Event,
    },
    clock::Clock,
    domain::{
        listener::Configuration,
        name::{BusName, GroupName},
    },
    listeners::{
        Class, Listener, ListenerSetup,
        webhook::{Webhook, policy::WebhookPolicy},
    },
};
use ring::hmac;
use serde_json::{Value, json};
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

const KEY: [u8; 32] = [7; 32];

/// What a receiver saw of one request.
struct Seen {
    peer: SocketAddr,
    headers: HeaderMap,
    body: Bytes,
}

type ScriptedAnswer = Box<dyn FnOnce() -> Response + Send>;

/// A receiver that gives its answers in order, then 204.
#[derive(Clone, Default)]
struct ScriptedReceiver {
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<ScriptedAnswer>>>,
}

impl ScriptedReceiver {
    async fn start(&self) -> SocketAddr {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().fallback(receive).with_state(self.clone());
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        tokio::spawn(async move { axum::serve(listener, service).await });
        address
    }

    fn answer(&self, answer: impl IntoResponse + Send + 'static) {
        self.answers.lock().unwrap().push_back(Box::new(move || answer.into_response()));
    }
}

async fn receive(
    State(receiver): State<ScriptedReceiver>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    receiver.seen.lock().unwrap().push(Seen { peer, headers, body });
    let answer = receiver.answers.lock().unwrap().pop_front();
    answer.map_or_else(|| StatusCode::NO_CONTENT.into_response(), |answer| answer())
}

fn event() -> Event {
    let body =
        r#"{"Added":{"eventId":"6e0dd59d-660e-4d9b-b22f-0354479f47b4","user":"bob", "x": 1.0}}"#;
    decode(None, body.as_bytes()).unwrap()
}

/// The pause that a failure asks for.
fn pause_of(failure: &Failure) -> Option<Duration> {
    match failure {
        Failure::RetryAfter { pause, .. } => Some(*pause),
        _ => None,
    }
}

fn execution(attempt: u32) -> Execution {
    let bus = BusName::parse("mailboxEvent").unwrap();
    let listener =
        serde_json::from_value(json!({"group": "index", "class": "webhook", "bus": bus}));
    Execution::begin(&listener.unwrap(), attempt, Clock::system().monotonic())
}

fn class() -> Webhook {
    Webhook::new(WebhookPolicy { loopback: true, ..WebhookPolicy::default() }, Clock::system())
}

fn make(class: &Webhook, configuration: Value) -> Arc<dyn Listener> {
    let configuration: Configuration = serde_json::from_value(configuration).unwrap();
    let setup = ListenerSetup {
        group: GroupName::parse("index").unwrap(),
        configuration: configuration.into(),
    };
    class.make(setup).unwrap()
}

async fn post(configuration: Value) -> Result<(), Failure> {
    make(&class(), configuration).on_event(&event(), &execution(0)).await
}

fn header<'a>(seen: &'a Seen, name: &str) -> &'a str {
    seen.headers[name].to_str().unwrap()
}

#[tokio::test]
async fn an_event_is_posted_as_a_signed_cloud_event() {
    let receiver = ScriptedReceiver::default();
    let address = receiver.start().await;
    let secret = format!("whsec_{}", STANDARD.encode(KEY));
    let before = time::OffsetDateTime::now_utc().unix_timestamp();
    post(json!({
        "url": format!("http://{address}/hook?token=t"),
        "secret": secret,
        "headers": {"Authorization": "Bearer abc"},
    }))
    .await
    .unwrap();
    let seen = receiver.seen.lock().unwrap();
    let seen = &seen[0];
    assert_eq!(header(seen, "content-type"), CLOUDEVENTS_JSON);
    assert_eq!(header(seen, "authorization"), "Bearer abc");
    assert!(header(seen, "user-agent").starts_with("hearken/"));
    assert_eq!(header(seen, "webhook-id"), "6e0dd59d-660e-4d9b-b22f-0354479f47b4");
    let timestamp = header(seen, "webhook-timestamp");
    assert!(timestamp.parse::<i64>().unwrap() >= before);
    let mut signed = format!("{}.{timestamp}.", header(seen, "webhook-id")).into_bytes();
    signed.extend_from_slice(&seen.body);
    let signature = header(seen, "webhook-signature").strip_prefix("v1,").unwrap();
    let signature = STANDARD.decode(signature).unwrap();
    let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
    hmac::verify(&key, &signed, &signature).unwrap();
    let read = decode(Some(CLOUDEVENTS_JSON), &seen.body).unwrap();
    assert_eq!((read.kind.as_str(), read.user.as_deref()), ("Added", Some("bob")));
    let text = std::str::from_utf8(&seen.body).unwrap();
    assert!(text.contains(r#""data":{"Added":{"eventId":"6e0dd59d-660e-4d9b-b22f-0354479f47b4","user":"bob", "x": 1.0}}"#));
}

#[tokio::test]
async fn without_a_secret_nothing_is_signed() {
    let receiver = ScriptedReceiver::default();
    let address = receiver.start().await;
    post(json!({"url": format!("http://{address}/")})).await.unwrap();
    assert!(!receiver.seen.lock().unwrap()[0].headers.contains_key("webhook-signature"));
}

#[tokio::test]
async fn a_retry_has_the_same_id_and_uses_the_same_connection() {
    let receiver = ScriptedReceiver::default();
    let address = receiver.start().await;
    receiver.answer((StatusCode::INTERNAL_SERVER_ERROR, "the index\nis\tred"));
    let listener = make(&class(), json!({"url": format!("http://{address}/hook?token=t")}));
    let failure = listener.on_event(&event(), &execution(0)).await.unwrap_err();
    assert_eq!(
        failure.to_string(),
        format!("http://{address}/hook answered 500 Internal Server Error: the index is red")
    );
    assert_eq!(pause_of(&failure), None);
    listener.on_event(&event(), &execution(1)).await.unwrap();
    let seen = receiver.seen.lock().unwrap();
    assert_eq!(seen[0].headers["webhook-id"], seen[1].headers["webhook-id"]);
    assert_eq!(seen[0].peer, seen[1].peer, "a new connection was opened");
}

#[tokio::test]
async fn listeners_of_the_class_share_connections() {
    let receiver = ScriptedReceiver::default();
    let address = receiver.start().await;
    let class = class();
    for _ in 0..2 {
        let listener = make(&class, json!({"url": format!("http://{address}/")}));
        listener.on_event(&event(), &execution(0)).await.unwrap();
    }
    let seen = receiver.seen.lock().unwrap();
    assert_eq!(seen[0].peer, seen[1].peer);
}

#[tokio::test]
async fn a_redirect_is_a_failure_that_says_so_and_is_not_followed() {
    let receiver = ScriptedReceiver::default();
    let address = receiver.start().await;
    let other = ScriptedReceiver::default();
    let elsewhere = format!("http://{}/other?secret=x", other.start().await);
    for status in [StatusCode::FOUND, StatusCode::PERMANENT_REDIRECT] {
        receiver.answer((status, [("location", elsewhere.clone())]));
        let failure = post(json!({"url": format!("http://{address}/")})).await.unwrap_err();
        assert!(failure.to_string().contains("redirects are not followed"), "{failure}");
        assert!(!failure.to_string().contains("secret"), "{failure}");
    }
    assert!(other.seen.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_receiver_that_asks_for_a_pause_is_given_it() {
    let receiver = ScriptedReceiver::default();
    let address = receiver.start().await;
    let url = json!({"url": format!("http://{address}/")});
    for (status, asked, expected) in [
        (StatusCode::SERVICE_UNAVAILABLE, "7", Some(7)),
        (StatusCode::TOO_MANY_REQUESTS, "0", Some(0)),
        (StatusCode::TOO_MANY_REQUESTS, "86400", Some(3600)),
        (StatusCode::TOO_MANY_REQUESTS, "soon", None),
        (StatusCode::INTERNAL_SERVER_ERROR, "7", None),
    ] {
        receiver.answer((status, [("retry-after", HeaderValue::from_static(asked))]));
        let failure = post(url.clone()).await.unwrap_err();
        assert_eq!(pause_of(&failure), expected.map(Duration::from_secs), "{status} {asked}");
    }
}
