//! Waiting until nothing happens any more, and reading what is left.

use super::{checker::Dead, groups::GROUPS, world::World};
use crate::support::{node::topology_status, wait};
use reqwest::Method;
use serde_json::Value;
use std::time::{Duration, Instant};

/// Time without any execution after which a run counts as quiet. An event that waits for a retry is
/// in a queue, and a quorum queue counts its messages every five seconds (RabbitMQ,
/// `quorum_tick_interval`).
const QUIET: Duration = Duration::from_secs(8);

/// Groups of dead letters that belong to no listener.
pub(super) const DISPATCH_FAILURE: &str = "dispatch-failure";
const PARKED: &str = "parked";

impl World {
    /// Waits until every node is well, every queue is empty, no event is kept for lack of a broker,
    /// and no execution runs. Returns the obstacle when that takes too long.
    pub(super) async fn settle(&self, limit: Duration) -> Result<(), String> {
        let deadline = Instant::now() + limit;
        let mut since = Instant::now();
        let mut seen = self.receiver.count();
        let mut said = None;
        loop {
            let unsettled = self.unsettled().await.err();
            if said != unsettled {
                said.clone_from(&unsettled);
                println!("chaos: settling: {}", said.as_deref().unwrap_or("nothing in the way"));
            }
            let count = self.receiver.count();
            if unsettled.is_some() || count != seen {
                (since, seen) = (Instant::now(), count);
            } else if since.elapsed() >= QUIET {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(unsettled.unwrap_or_else(|| "executions never end".to_owned()));
            }
            wait::pace(Duration::from_millis(250)).await;
        }
    }

    /// Prints what queues hold for whom, and what nodes say that they run.
    pub(super) async fn tell_what_is_left(&self) {
        for queue in self.queues().await.into_iter().flatten() {
            if queue["messages"] != 0 {
                println!("chaos: left: {queue}");
                println!("chaos: left for: {}", self.consumers(&queue["name"]).await);
            }
        }
        for index in 0..self.nodes() {
            let node = self.node(index).await;
            let Ok(metrics) = node.try_call(Method::GET, "/metrics", None).await else { continue };
            let text = metrics.body.as_str().unwrap_or_default().to_owned();
            for line in text.lines().filter(|line| line.starts_with("hearken_in_flight{")) {
                println!("chaos: left on n{index}: {line}");
            }
        }
    }

    async fn unsettled(&self) -> Result<(), String> {
        for index in 0..self.nodes() {
            let node = self.node(index).await;
            let ask = async |path: &str| {
                let answer = node.try_call(Method::GET, path, None).await;
                answer.map_err(|error| format!("n{index} {path}: {error}"))
            };
            let ready = ask("/readyz").await?;
            if ready.status != 200 {
                return Err(format!("n{index} is not ready: {}", ready.body));
            }
            let topology = ask("/topology").await?;
            if topology_status(&topology.body)["state"] != "converged" {
                return Err(format!("n{index} says of the topology: {}", topology.body["status"]));
            }
            let nodes = ask("/nodes").await?.body;
            let me = nodes["nodes"].as_array().into_iter().flatten();
            let mut me = me.filter(|node| node["id"] == format!("n{index}"));
            let listeners = me.next().map(|me| me["listeners"].clone()).unwrap_or_default();
            let listeners = listeners.as_array().cloned().unwrap_or_default();
            let running = |listener: &&Value| listener["state"] == "running";
            if listeners.iter().filter(running).count() != GROUPS.len() {
                return Err(format!("n{index} does not run everything: {listeners:?}"));
            }
        }
        let queues = self.queues().await.ok_or("no broker lists its queues")?;
        if let Some(queue) = queues.iter().find(|queue| queue["messages"] != 0) {
            return Err(format!("a queue is not empty: {queue}"));
        }
        match self.dead_letters(DISPATCH_FAILURE).await {
            Some(kept) if kept.is_empty() => Ok(()),
            Some(kept) => Err(format!("{} events could not be published", kept.len())),
            None => Err("no node lists its dead letters".to_owned()),
        }
    }

    /// The dead letters of a group as one of the nodes lists them; `None` when no node answers.
    pub(super) async fn dead_letters(&self, group: &str) -> Option<Vec<Value>> {
        for index in 0..self.nodes() {
            if let Some(letters) = self.dead_letters_of(index, group).await {
                return Some(letters);
            }
        }
        None
    }

    async fn dead_letters_of(&self, index: usize, group: &str) -> Option<Vec<Value>> {
        let node = self.node(index).await;
        let mut letters = Vec::new();
        let mut after = String::new();
        loop {
            let path = format!("/events/deadLetter?group={group}&limit=1000{after}");
            let answer = node.try_call(Method::GET, &path, None).await.ok()?;
            if answer.status != 200 {
                return None;
            }
            letters.extend(answer.body["deadLetters"].as_array()?.clone());
            match &answer.body["next"] {
                Value::Null => return Some(letters),
                next => after = format!("&after={}", next.to_string().trim_matches('"')),
            }
        }
    }

    /// Every dead letter of a group under test, with those that were parked for it.
    pub(super) async fn dead(&self) -> Vec<Dead> {
        let mut all = Vec::new();
        for group in GROUPS.iter().map(|group| group.name).chain([PARKED]) {
            let letters = self.dead_letters(group).await.expect("a node lists its dead letters");
            let text = |letter: &Value, name: &str| {
                letter[name].as_str().unwrap_or("(not known)").to_owned()
            };
            all.extend(letters.iter().map(|letter| Dead {
                group: text(letter, if group == PARKED { "origin" } else { "group" }),
                event: text(letter, "eventId"),
                parked: group == PARKED,
            }));
        }
        all
    }
}
