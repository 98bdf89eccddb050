//! A dry run shows the steps that the next requested pass makes.

use super::drift::names;
use crate::support::{
    node::{Node, Services, Setup},
    services::VirtualHost,
};
use reqwest::Method;
use serde_json::{Value, json};

/// The name of a group's work queue.
fn work(group: &str, generation: u32) -> String {
    format!("hearken.mailboxEvent.work.{group}.v{generation}")
}

/// What a step of a plan and a step of a pass have in common.
fn step(step: &Value) -> [String; 5] {
    ["action", "object", "name", "class", "reason"]
        .map(|member| step[member].as_str().expect(member).to_owned())
}

fn shown(steps: &[[String; 5]]) -> Vec<String> {
    steps.iter().map(|[action, _, name, ..]| format!("{action} {name}")).collect()
}

/// Steps that an answer lists.
fn steps(answer: &Value) -> Vec<[String; 5]> {
    answer["steps"].as_array().expect("the answer has steps").iter().map(step).collect()
}

/// Makes a requested pass, and returns what its task reports.
async fn reconcile(node: &Node) -> Value {
    let task = node.call(Method::POST, "/topology?action=reconcile", None).await;
    assert_eq!(task.status, 201, "{}", task.body);
    let id = task.body["taskId"].as_str().expect("a task has an id");
    let report = node.get(&format!("/tasks/{id}/await?timeout=30s")).await;
    assert_eq!(report["status"], "completed", "{report}");
    report["additionalInformation"].clone()
}

/// A node in manual mode, so that no pass repairs the damage before the dry run. Its broker has a
/// foreign queue with the name of the queue to which listener `c` was migrated.
async fn with_withheld_migration(services: &Services, host: &VirtualHost) -> Node {
    let node = Setup::cluster("one", services).with(&["--reconcile", "manual"]).start().await;
    for group in ["a", "b", "c", "d"] {
        node.add(json!({"class": "log", "group": group})).await;
    }
    node.remove("d", "keep").await;
    let foreign = json!({"durable": true, "arguments": {}});
    let path = format!("queues/{}/{}", host.name, work("c", 2));
    host.api(Method::PUT, &path, Some(foreign)).await;
    reconcile(&node).await;
    let migrate = format!("/topology/queues/{}?action=migrate", work("c", 1));
    assert_eq!(node.call(Method::POST, &migrate, None).await.status, 201);
    node.wait_topology("drifted").await;
    node
}

/// Damages the topology by hand: a queue is missing, a binding is missing, the kept queue of a
/// removed listener is bound again, and a foreign exchange is bound to a queue of ours.
async fn damage(host: &VirtualHost) {
    let (vhost, main) = (&host.name, "hearken.mailboxEvent");
    let (a, b, d) = (work("a", 1), work("b", 1), work("d", 1));
    host.api(Method::DELETE, &format!("queues/{vhost}/{a}"), None).await;
    host.api(Method::DELETE, &format!("bindings/{vhost}/e/{main}/q/{b}/~"), None).await;
    for (exchange, queue) in [(main, &d), ("amq.fanout", &b)] {
        let path = format!("bindings/{vhost}/e/{exchange}/q/{queue}");
        host.api(Method::POST, &path, Some(json!({"routing_key": ""}))).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_shows_the_steps_that_the_next_pass_makes() {
    let (services, host) = Services::fresh().await;
    let node = with_withheld_migration(&services, &host).await;
    damage(&host).await;

    let plan = node.call(Method::POST, "/topology?action=reconcile&dryRun", None).await;
    assert_eq!(plan.status, 200, "{}", plan.body);
    let (reports, planned): (Vec<_>, Vec<_>) =
        steps(&plan.body).into_iter().partition(|[action, ..]| action == "report");
    let (a, b, d) = (work("a", 1), work("b", 1), work("d", 1));
    let expected = [
        format!("declare {a}"),
        format!("bind hearken.mailboxEvent -> {a} []"),
        format!("bind hearken.mailboxEvent -> {b} []"),
        format!("bind hearken.mailboxEvent.return -> {a} [a]"),
        // Listener c keeps the binding of its old queue: its new queue cannot be bound.
        format!("unbind hearken.mailboxEvent -> {d} []"),
        format!("delete {}", work("c", 1)),
    ];
    assert_eq!(shown(&planned), expected);
    let expected = [format!("report amq.fanout -> {b} []"), format!("report {}", work("c", 2))];
    assert_eq!(shown(&reports), expected);

    let made = reconcile(&node).await;
    assert_eq!(steps(&made), planned);
    let outcome =
        |step: &Value| step["outcome"].as_str().expect("a step has an outcome").to_owned();
    let outcomes: Vec<_> = made["steps"].as_array().unwrap().iter().map(outcome).collect();
    assert_eq!(outcomes, ["done", "done", "done", "done", "done", "skipped"], "{made}");
    let bindings = names(&host, "bindings").await;
    assert!(bindings.contains(&format!("hearken.mailboxEvent>{}>", work("c", 1))), "{bindings:?}");
    assert!(!bindings.contains(&format!("hearken.mailboxEvent>{d}>")), "{bindings:?}");
}
