//! The webhook class against real receivers on loopback.

#![expect(clippy::unwrap_used, reason = "what fails in a helper fails its test")]

use crate::support::wait;
use axum::{
    Router,
    body::{Body, Bytes},
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
    domain::name::{BusName, GroupName},
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
    time::{Duration, Instant},
};

const KEY: [u8; 32] = [7; 32];

/// What a receiver saw of one request.
struct Seen {
    peer: SocketAddr,
    headers: HeaderMap,
    body: Bytes,
}

type Answer = Box<dyn FnOnce() -> Response + Send>;

/// A receiver that gives its answers in order, then 204.
#[derive(Clone, Default)]
struct Receiver {
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<VecDeque<Answer>>>,
}

impl Receiver {
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
    State(receiver): State<Receiver>,
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
    let configuration = serde_json::from_value(configuration).unwrap();
    let setup = ListenerSetup { group: GroupName::parse("index").unwrap(), configuration };
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
    let receiver = Receiver::default();
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
    let receiver = Receiver::default();
    let address = receiver.start().await;
    post(json!({"url": format!("http://{address}/")})).await.unwrap();
    assert!(!receiver.seen.lock().unwrap()[0].headers.contains_key("webhook-signature"));
}

#[tokio::test]
async fn a_retry_has_the_same_id_and_uses_the_same_connection() {
    let receiver = Receiver::default();
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
    let receiver = Receiver::default();
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
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let other = Receiver::default();
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
    let receiver = Receiver::default();
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

#[tokio::test]
async fn a_receiver_that_does_not_answer_in_time_is_a_failure() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", silent.local_addr().unwrap());
    let started = Instant::now();
    let failure = post(json!({"url": url, "timeout": "200ms"})).await.unwrap_err();
    assert_eq!(failure.to_string(), format!("{url} did not answer within 200ms"));
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn an_answer_without_end_is_cut_with_any_status() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let url = json!({"url": format!("http://{address}/")});
    let endless = || {
        let chunk = || Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 8192]));
        Body::from_stream(futures_util::stream::repeat_with(chunk))
    };
    receiver.answer(endless());
    receiver.answer((StatusCode::BAD_GATEWAY, endless()));
    let both = async {
        post(url.clone()).await.unwrap();
        let failure = post(url).await.unwrap_err();
        let said = failure.to_string();
        let (_, shown) = said.split_once("502 Bad Gateway: ").unwrap();
        assert_eq!(shown, "x".repeat(300));
    };
    tokio::time::timeout(Duration::from_secs(8), both).await.expect("the answer is not read whole");
}

#[tokio::test]
async fn an_answer_that_trickles_does_not_hold_up_a_success() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    receiver.answer(Body::from_stream(futures_util::stream::pending::<
        Result<Bytes, std::io::Error>,
    >()));
    let started = Instant::now();
    post(json!({"url": format!("http://{address}/")})).await.unwrap();
    assert!(started.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a_name_that_leads_into_the_machine_is_refused_unless_it_is_allowed() {
    let receiver = Receiver::default();
    let address = receiver.start().await;
    let url = json!({"url": format!("http://localhost:{}/?token=t", address.port())});
    let closed = Webhook::new(WebhookPolicy::default(), Clock::system());
    let failure = make(&closed, url.clone()).on_event(&event(), &execution(0)).await.unwrap_err();
    assert!(failure.to_string().contains("--webhook-allow localhost"), "{failure}");
    assert!(!failure.to_string().contains("token"), "{failure}");
    assert!(receiver.seen.lock().unwrap().is_empty());
    let allow = hearken::listeners::webhook::policy::parse_allow("localhost").unwrap();
    let open = Webhook::new(WebhookPolicy { allow, ..WebhookPolicy::default() }, Clock::system());
    make(&open, url).on_event(&event(), &execution(0)).await.unwrap();
    assert_eq!(receiver.seen.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn an_address_that_is_not_allowed_does_not_even_make_a_listener() {
    let class = Webhook::new(WebhookPolicy::default(), Clock::system());
    let configuration = json!({"url": "http://127.0.0.1:1/"});
    let configuration = serde_json::from_value(configuration).unwrap();
    let setup = ListenerSetup { group: GroupName::parse("index").unwrap(), configuration };
    let problem = class.make(setup).err().unwrap().to_string();
    assert!(problem.contains("--webhook-allow 127.0.0.1"), "{problem}");
}

#[tokio::test]
async fn a_receiver_that_is_away_and_comes_back_gets_the_event() {
    let receiver = Receiver::default();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let listener = make(&class(), json!({"url": format!("http://{address}/?token=t")}));
    let failure = listener.on_event(&event(), &execution(0)).await.unwrap_err();
    let expected = format!("no answer from http://{address}/: ");
    assert!(failure.to_string().starts_with(&expected), "{failure}");
    assert!(
        failure.to_string().contains("refused") && !failure.to_string().contains("token"),
        "{failure}"
    );
    let socket = tokio::net::TcpListener::bind(address).await.unwrap();
    let router = Router::new().fallback(receive).with_state(receiver.clone());
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(socket, service).await });
    wait::until("the event arrives", || async {
        listener.on_event(&event(), &execution(1)).await.ok()
    })
    .await;
    assert!(!receiver.seen.lock().unwrap().is_empty());
}
