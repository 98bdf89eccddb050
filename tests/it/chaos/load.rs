//! The load: events in, through all faults, and a ledger of the answer to each.

use super::random::Random;
use crate::support::{node::TOKEN, wait};
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// Requests under way at a time, at most.
const WINDOW: usize = 48;

/// Events of a batch, at most.
const BATCH: usize = 8;

/// Time that a client waits for an answer. After that the outcome counts as unknown.
const PATIENCE: Duration = Duration::from_secs(40);

/// Outcome of an event, as its producer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// 202.
    Accepted,
    /// No answer, or an answer that leaves the outcome open: the event may have been accepted.
    Unknown,
}

/// An event that was sent.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub(super) event: String,
    pub(super) sent: Instant,
    pub(super) answered: Instant,
    pub(super) outcome: Outcome,
}

/// Sends events to nodes.
#[derive(Clone)]
pub(super) struct Load {
    client: Client,
    /// URLs of the nodes, which change with their restarts.
    urls: Arc<Mutex<Vec<String>>>,
    ledger: Arc<Mutex<Ledger>>,
    window: Arc<Semaphore>,
}

/// Ledger of sent events and answers.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) posted: Vec<Posted>,
    /// Answers that no client should get, even when parts are broken.
    pub(super) wrong: BTreeSet<String>,
    /// Causes that clients were given for events that were not accepted, with their counts.
    pub(super) refusals: BTreeMap<String, usize>,
    next: usize,
}

impl Load {
    pub(super) fn new(urls: Arc<Mutex<Vec<String>>>) -> Self {
        hearken::tls::init();
        let client = Client::builder().no_proxy().timeout(PATIENCE).build().expect("a client");
        let window = Arc::new(Semaphore::new(WINDOW));
        Self { client, urls, ledger: Arc::default(), window }
    }

    pub(super) fn ledger(&self) -> std::sync::MutexGuard<'_, Ledger> {
        self.ledger.lock().expect("no panic")
    }

    /// Sends about so many events a second to random nodes, some in batches and some with keys,
    /// until it is told to stop. Then waits for the answers.
    pub(super) async fn run(self, seed: u64, rate: usize, stop: CancellationToken) {
        let mut random = Random::of(seed, "load");
        let sending = TaskTracker::new();
        while !stop.is_cancelled() {
            let size = if random.once_in(6) { 2 + random.below(BATCH - 1) } else { 1 };
            let node = random.below(self.urls.lock().expect("no panic").len());
            let key = random.once_in(4).then(|| format!("account:{}", random.below(5)));
            let window = Arc::clone(&self.window).acquire_owned().await.expect("never closed");
            let load = self.clone();
            sending.spawn(async move {
                load.send(node, size, key).await;
                drop(window);
            });
            let pause = 1_000 * size / rate;
            wait::pace(random.millis(pause / 2, pause * 3 / 2 + 1)).await;
        }
        sending.close();
        sending.wait().await;
    }

    /// Sends some events in one request. Returns their ids.
    pub(super) async fn send(&self, node: usize, size: usize, key: Option<String>) -> Vec<String> {
        let ids = self.ids(size);
        let event = |id: &String| json!({"specversion": "1.0", "id": id, "source": "/chaos", "type": "Chaos", "data": {"n": 1}});
        let (form, body) = match &ids[..] {
            [id] => ("application/cloudevents+json", event(id)),
            ids => ("application/cloudevents-batch+json", ids.iter().map(event).collect()),
        };
        let url = self.urls.lock().expect("no panic")[node].clone();
        let key = key.map(|key| format!("?key={key}")).unwrap_or_default();
        let request = self.client.post(format!("{url}/events/mailboxEvent{key}"));
        let request = request.bearer_auth(TOKEN).header("content-type", form);
        let sent = Instant::now();
        let answer = async {
            let answer = request.body(body.to_string()).send().await?;
            Ok((answer.status(), answer.text().await?))
        };
        let accepted = self.understand(&ids, answer.await);
        let answered = Instant::now();
        self.ledger().posted.extend(ids.iter().map(|event| {
            let known = accepted.contains(event);
            let outcome = if known { Outcome::Accepted } else { Outcome::Unknown };
            Posted { event: event.clone(), sent, answered, outcome }
        }));
        ids
    }

    fn ids(&self, size: usize) -> Vec<String> {
        let mut ledger = self.ledger();
        let first = ledger.next;
        ledger.next += size;
        (first..first + size).map(|number| format!("e{number:05}")).collect()
    }

    /// The events that are safe, by the answer.
    fn understand(
        &self,
        ids: &[String],
        answer: reqwest::Result<(StatusCode, String)>,
    ) -> BTreeSet<String> {
        let (status, text) = match answer {
            Ok((StatusCode::ACCEPTED, _)) => return ids.iter().cloned().collect(),
            Ok(answer) => answer,
            Err(error) => {
                let kind = if error.is_timeout() { "no answer in time" } else { "no connection" };
                *self.ledger().refusals.entry(kind.to_owned()).or_default() += ids.len();
                return BTreeSet::new();
            }
        };
        let body: Value = serde_json::from_str(&text).unwrap_or_default();
        let accepted = body["accepted"].as_array().into_iter().flatten();
        let accepted: BTreeSet<String> =
            accepted.filter_map(|id| id.as_str().map(str::to_owned)).collect();
        let kind = format!("{status} {}", body["type"].as_str().unwrap_or_default());
        let mut ledger = self.ledger();
        if status != StatusCode::SERVICE_UNAVAILABLE || !body["type"].is_string() {
            ledger.wrong.insert(format!("{kind}: {}", body["detail"]));
        }
        *ledger.refusals.entry(kind).or_default() += ids.len() - accepted.len();
        accepted
    }
}
