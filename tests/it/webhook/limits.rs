//! Receivers that are slow, away, or not allowed.

use super::{ScriptedReceiver, class, event, execution, make, post, receive};
use crate::support::wait;
use axum::{
    Router,
    body::{Body, Bytes},
    http::StatusCode,
};
use hearken::{
    clock::Clock,
    domain::name::GroupName,
    listeners::{
        Class, ListenerSetup,
        webhook::{Webhook, policy::WebhookPolicy},
    },
};
use serde_json::json;
use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

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
    let receiver = ScriptedReceiver::default();
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
    let receiver = ScriptedReceiver::default();
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
    let receiver = ScriptedReceiver::default();
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
    let configuration: hearken::domain::listener::Configuration =
        serde_json::from_value(configuration).unwrap();
    let making = ListenerSetup {
        group: GroupName::parse("index").unwrap(),
        configuration: configuration.into(),
    };
    let problem = class.make(making).err().unwrap().to_string();
    assert!(problem.contains("--webhook-allow 127.0.0.1"), "{problem}");
}

#[tokio::test]
async fn a_receiver_that_is_away_and_comes_back_gets_the_event() {
    let receiver = ScriptedReceiver::default();
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
