//! A webhook receiver: remembers what it was sent, and answers as it is told.

use axum::{Router, body::Bytes, extract::State, http::StatusCode, routing::post};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::Duration,
};

/// A receiver on a loopback port. Ends with the test.
#[derive(Clone)]
pub(crate) struct Receiver {
    pub(crate) url: String,
    state: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    received: Vec<Value>,
    status: u16,
    pause: Duration,
}

impl Receiver {
    /// Starts one that answers 204.
    pub(crate) async fn start() -> Self {
        let state = Arc::new(Mutex::new(Inner { status: 204, ..Inner::default() }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/hook", listener.local_addr().expect("an address"));
        let router = Router::new().route("/hook", post(receive)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    /// Answers with this status from now on.
    pub(crate) fn answer(&self, status: u16) {
        self.state.lock().expect("no panic").status = status;
    }

    /// Takes this long from now on.
    pub(crate) fn pause(&self, pause: Duration) {
        self.state.lock().expect("no panic").pause = pause;
    }

    /// How often each event id was received.
    pub(crate) fn ids(&self) -> BTreeMap<String, usize> {
        let mut ids = BTreeMap::new();
        for event in &self.state.lock().expect("no panic").received {
            *ids.entry(event["id"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        ids
    }

    /// Waits until an event was received.
    pub(crate) async fn wait_for(&self, id: &str) {
        super::wait::until(&format!("event {id} is received"), async || {
            self.ids().contains_key(id).then_some(())
        })
        .await;
    }

    /// The configuration of a webhook that calls this receiver.
    pub(crate) fn listener(&self, group: &str) -> Value {
        serde_json::json!({"class": "webhook", "group": group, "configuration": {"url": self.url}})
    }
}

async fn receive(State(state): State<Arc<Mutex<Inner>>>, body: Bytes) -> StatusCode {
    let pause = state.lock().expect("no panic").pause;
    tokio::time::sleep(pause).await;
    let mut state = state.lock().expect("no panic");
    state.received.push(serde_json::from_slice(&body).unwrap_or_default());
    StatusCode::from_u16(state.status).expect("a status")
}
