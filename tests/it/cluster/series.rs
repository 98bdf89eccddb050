//! Every series of `docs/observing.md` moves in a running process.

use super::faults::log;
use crate::support::{
    connections,
    node::{Node, Services, Setup, TOKEN},
    receiver::Receiver,
    services::VirtualHost,
    wait,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

/// Series that are not moved here, each with the reason.
const NOT_MOVED: [(&str, &str); 2] = [
    ("hearken_build_info", "one program has one version"),
    ("hearken_swept_total", "records are swept every five minutes; store/retention.rs moves it"),
];

/// The values that each sample had in the scrapes so far. The two nodes have other settings and
/// another start, so a series that stands still in one process differs between both.
#[derive(Default)]
struct Scrapes {
    values: BTreeMap<String, BTreeSet<String>>,
    /// Samples of the first scrape. A sample that appears later has moved from 0.
    first: BTreeSet<String>,
}

impl Scrapes {
    async fn scrape(&mut self, nodes: &[&Node]) {
        for node in nodes {
            let text = node.get("/metrics").await;
            let text = text.as_str().expect("metrics are text");
            let samples = text.lines().filter(|line| !line.starts_with('#'));
            for (sample, value) in samples.filter_map(|line| line.rsplit_once(' ')) {
                self.values.entry(sample.to_owned()).or_default().insert(value.to_owned());
            }
        }
        if self.first.is_empty() {
            self.first = self.values.keys().cloned().collect();
        }
    }

    fn has_moved(&self, series: &str) -> bool {
        self.values.iter().any(|(sample, values)| {
            let name = sample.split('{').next().unwrap_or_default();
            let ours = name == series || name.strip_suffix("_count") == Some(series);
            ours && (values.len() > 1 || !self.first.contains(sample))
        })
    }

    fn standing(&self) -> Vec<&'static str> {
        documented().filter(|series| !self.has_moved(series)).collect()
    }

    /// Scrapes until a series has moved.
    async fn until_moved(&mut self, nodes: &[&Node], series: &str) {
        let deadline = std::time::Instant::now() + Duration::from_secs(40);
        while !self.has_moved(series) {
            assert!(std::time::Instant::now() < deadline, "{series} stands still");
            wait::look_again().await;
            self.scrape(nodes).await;
        }
    }
}

/// The series of the page, without the ones that are not moved here.
fn documented() -> impl Iterator<Item = &'static str> {
    let page = include_str!("../../../docs/observing.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let series = rows.filter(|name| name.starts_with("hearken_") || name.starts_with("process_"));
    series.filter(|name| NOT_MOVED.iter().all(|(other, _)| other != name))
}

async fn post(node: &Node, path: &str, id: &str) {
    let event = json!({"MailboxAdded": {"eventId": id, "user": "bob"}});
    let answer = node.call(Method::POST, path, Some(event)).await;
    assert_eq!(answer.status, 202, "{}", answer.body);
}

/// Executions that succeed, fail, are retried, are given up and take long.
async fn execute(nodes: &[&Node], scrapes: &mut Scrapes) {
    let receiver = Receiver::start().await;
    receiver.answer(500);
    let mut listener = receiver.listener("hook");
    listener["retry"] = json!({"attempts": 1, "first": "100ms"});
    nodes[0].add(listener).await;
    nodes[0].add(json!({"class": "panics-in-make", "group": "broken"})).await;
    for node in nodes {
        node.wait_listener("hook", "running").await;
    }
    post(nodes[0], "/events/mailboxEvent", "e1").await;
    let given_up = "hearken_dead_lettered_total";
    scrapes.until_moved(nodes, given_up).await;
    receiver.pause(Duration::from_secs(5));
    receiver.answer(204);
    post(nodes[0], "/events/mailboxEvent", "e2").await;
    scrapes.until_moved(nodes, "hearken_in_flight").await;
    scrapes.until_moved(nodes, "hearken_oldest_in_hand_seconds").await;
    receiver.wait_for("e2").await;
}

/// Key listeners: a stream that comes, and a listener that never returns.
async fn follow(node: &Node, scrapes: &mut Scrapes) {
    let url = format!("{}/events/mailboxEvent/notifications?key=k", node.url);
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let stream = client.get(url).bearer_auth(TOKEN).send().await.unwrap();
    assert_eq!(stream.status(), 200);
    scrapes.until_moved(&[node], "hearken_registrations").await;
    scrapes.until_moved(&[node], "hearken_key_bindings").await;
    drop(stream);
    // Ten run for ever and 1,024 wait; further notifications are dropped.
    for batch in 0..11 {
        let ids = (0..100).map(|number| format!("n{batch}-{number}"));
        let path = "/events/mailboxEvent?key=stuck";
        join_all(ids.map(|id| async move { post(node, path, &id).await })).await;
    }
    scrapes.until_moved(&[node], "hearken_notifications_dropped_total").await;
}

/// Drift that is repaired on request: the exchange of the bus is gone, and nothing can be published
/// without it.
async fn break_broker(nodes: &[&Node], host: &VirtualHost, scrapes: &mut Scrapes) {
    let exchange = format!("exchanges/{}/hearken.mailboxEvent", host.name);
    host.api(Method::DELETE, &exchange, None).await;
    post(nodes[0], "/events/mailboxEvent", "kept").await;
    scrapes.until_moved(nodes, "hearken_dispatch_failures_total").await;
    scrapes.until_moved(nodes, "hearken_cluster_drift").await;
    scrapes.until_moved(nodes, "hearken_cluster_oldest_drift_seconds").await;
    let pass = nodes[0].call(Method::POST, "/topology?action=reconcile", None).await;
    assert_eq!(pass.status, 201, "{}", pass.body);
    scrapes.until_moved(nodes, "hearken_redispatched_total").await;
    connections::close_all(host).await;
    scrapes.until_moved(nodes, "hearken_reconnects_total").await;
}

/// Writes an event that this program cannot read, so that its tail halts.
async fn halt(services: &Services) {
    let sql = "INSERT INTO roster_event (version, event_id, event_type, schema_version, payload, group_name, actor, node_id, node_host, command_id) \
        SELECT version + 1, gen_random_uuid(), 'ListenerLater', 1, payload, group_name, actor, node_id, node_host, gen_random_uuid() \
        FROM roster_event ORDER BY version DESC LIMIT 1";
    let mut session = PgConnection::connect(&services.database).await.unwrap();
    sqlx::query(sql).execute(&mut session).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn every_documented_series_moves_in_a_running_process() {
    assert!(documented().count() > 40, "the page lists the series in its tables");
    let (services, host) = Services::fresh().await;
    let manual = ["--reconcile", "manual"];
    let one = Setup::cluster("one", &services).running("troublemaker").with(&manual).start().await;
    let mut scrapes = Scrapes::default();
    scrapes.scrape(&[&one]).await;
    let other = ["--database-connections", "5", "--dead-letter-quota", "5,64KiB"];
    let two = Setup::cluster("two", &services).with(&manual).with(&other).start().await;
    let nodes = [&one, &two];
    one.add(log("a")).await;
    execute(&nodes, &mut scrapes).await;
    follow(&one, &mut scrapes).await;
    break_broker(&nodes, &host, &mut scrapes).await;
    halt(&services).await;
    let last: Value = json!({"class": "log", "group": "late"});
    // The append notices the event, and is refused.
    let refused = one.call(Method::POST, "/listeners", Some(last)).await;
    assert!(refused.status.as_u16() >= 500, "{}", refused.body);
    let left = std::cell::RefCell::new(scrapes);
    let ask = async || {
        // Health is computed when a caller asks for it.
        one.call(Method::GET, "/healthcheck", None).await;
        let mut scrapes = left.take();
        scrapes.scrape(&nodes).await;
        let standing = scrapes.standing().is_empty();
        left.replace(scrapes);
        standing.then_some(())
    };
    let what = || format!("these series stand still: {:?}", left.borrow().standing());
    wait::explained(Duration::from_secs(40), ask, what).await;
}
