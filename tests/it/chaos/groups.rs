//! The groups under test, and the receiver that they all post to.

use super::random::Random;
use crate::support::wait;
use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::{HeaderMap, StatusCode},
    routing::post,
};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

/// How a group's receiver answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Every execution works, at once.
    Works,
    /// Every execution works and takes its time.
    Slow,
    /// Each execution works by chance, one in two.
    Chance,
    /// Half of the events never work, the others always do.
    Poison,
    /// No execution works.
    Fails,
}

/// A group under test.
#[derive(Debug, Clone, Copy)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) rule: Rule,
    /// Whether it runs on each node, and not once in the cluster.
    pub(super) every_node: bool,
    /// How often a failed event is tried again.
    pub(super) attempts: usize,
}

/// The group that is removed and added again.
pub(super) const TRAVELLER: &str = "traveller";

/// Every group under test.
pub(super) const GROUPS: [Group; 7] = [
    once("healthy", Rule::Works, 3),
    once("slow", Rule::Slow, 3),
    once("chance", Rule::Chance, 4),
    once("poison", Rule::Poison, 2),
    once("failing", Rule::Fails, 1),
    once(TRAVELLER, Rule::Chance, 3),
    Group { every_node: true, ..once("everywhere", Rule::Works, 0) },
];

const fn once(name: &'static str, rule: Rule, attempts: usize) -> Group {
    Group { name, rule, every_node: false, attempts }
}

impl Group {
    /// Body with which an administrator adds the group. A node reads its name from [`NODE_FILE`].
    pub(super) fn listener(&self, receiver: &ChaosReceiver) -> Value {
        let (url, file) = (format!("{}/{}", receiver.url, self.name), NODE_FILE);
        json!({
            "class": "webhook",
            "group": self.name,
            "delivery": if self.every_node { "every-node" } else { "once" },
            "retry": {"attempts": self.attempts, "first": "100ms"},
            "configuration": {"url": url, "headers": {"x-node": {"file": file}}},
        })
    }

    /// Whether an execution of an event works after so many earlier requests to the receiver.
    pub(super) fn works(&self, seed: u64, event: &str, before: usize) -> bool {
        match self.rule {
            Rule::Works | Rule::Slow => true,
            Rule::Fails => false,
            Rule::Poison => !self.is_poison(seed, event),
            Rule::Chance => Random::of(seed, &format!("{} {event} {before}", self.name)).once_in(2),
        }
    }

    /// Whether an event never works for this group.
    pub(super) fn is_poison(&self, seed: u64, event: &str) -> bool {
        self.rule == Rule::Poison && Random::of(seed, event).once_in(2)
    }
}

/// The file in a node's directory that has the node's name.
pub(super) const NODE_FILE: &str = "node-name";

/// One execution of an event.
#[derive(Debug, Clone)]
pub(super) struct Execution {
    pub(super) group: String,
    pub(super) event: String,
    pub(super) node: String,
    /// When the receiver answered.
    pub(super) at: Instant,
    pub(super) worked: bool,
}

/// Records every execution, and answers as the group's rule says. Ends with the test.
#[derive(Clone)]
pub(super) struct ChaosReceiver {
    url: String,
    state: Arc<Inner>,
}

struct Inner {
    seed: u64,
    executions: Mutex<Vec<Execution>>,
    /// How often each group was asked for each event.
    asked: Mutex<BTreeMap<(String, String), usize>>,
}

impl ChaosReceiver {
    pub(super) async fn start(seed: u64) -> Self {
        let state = Arc::new(Inner { seed, executions: Mutex::default(), asked: Mutex::default() });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let router = Router::new().route("/{group}", post(receive)).with_state(Arc::clone(&state));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, state }
    }

    /// Executions so far.
    pub(super) fn executions(&self) -> Vec<Execution> {
        self.state.executions.lock().expect("no panic").clone()
    }

    /// Number of executions so far.
    pub(super) fn count(&self) -> usize {
        self.state.executions.lock().expect("no panic").len()
    }
}

async fn receive(
    State(state): State<Arc<Inner>>,
    Path(group): Path<String>,
    headers: HeaderMap,
    body: Bytes,
) -> StatusCode {
    let Some(known) = GROUPS.iter().find(|known| known.name == group) else {
        return StatusCode::NOT_FOUND;
    };
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let event = body["id"].as_str().unwrap_or_default().to_owned();
    let before = {
        let mut asked = state.asked.lock().expect("no panic");
        let asked = asked.entry((group.clone(), event.clone())).or_default();
        *asked += 1;
        *asked - 1
    };
    if known.rule == Rule::Slow {
        wait::pace(Random::of(state.seed, &event).millis(50, 400)).await;
    }
    let worked = known.works(state.seed, &event, before);
    let node = headers.get("x-node").and_then(|node| node.to_str().ok()).unwrap_or_default();
    let node = node.to_owned();
    let execution = Execution { group, event, node, at: Instant::now(), worked };
    state.executions.lock().expect("no panic").push(execution);
    if worked { StatusCode::NO_CONTENT } else { StatusCode::INTERNAL_SERVER_ERROR }
}

/// Longest execution of the slow group. A caller that waits for an execution waits longer.
pub(super) const SLOWEST: Duration = Duration::from_millis(400);
