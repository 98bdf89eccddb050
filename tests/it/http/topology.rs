//! `/topology`.

use crate::support::{node::TOKEN, receiver::Receiver, rest, rest::Rest, wait};
use serde_json::{Value, json};
use std::time::Duration;

#[tokio::test(flavor = "multi_thread")]
async fn the_topology_is_shown_with_what_should_be_and_what_is() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    let topology = rest.get("/topology").await.body;
    assert_eq!(
        (&topology["status"]["state"], &topology["drift"]),
        (&json!("converged"), &json!([]))
    );
    assert_eq!(
        (&topology["status"]["rosterVersion"], &topology["status"]["reconciledVersion"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(topology["desired"]["queues"][0]["name"], "hearken.mailboxEvent.work.a.v1");
    assert_eq!(topology["observed"]["queues"], topology["desired"]["queues"]);
    let plan = rest.ask("POST", "/topology?action=reconcile&dryRun").send().await;
    assert_eq!((plan.status, &plan.body), (200, &json!({"steps": []})));
}

#[tokio::test(flavor = "multi_thread")]
async fn passes_that_changed_something_are_listed_in_pages() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    rest.add(json!({"class": "log", "group": "b"})).await;
    // A pass is recorded after the broker was seen to follow.
    let declared = async || {
        let passes = rest.get("/topology/passes").await.body;
        let passes = passes["passes"].as_array().expect("passes").clone();
        let mut steps = passes.iter().flat_map(|pass| pass["steps"].as_array().expect("steps"));
        let done = |step: &Value| {
            step["name"] == "hearken.mailboxEvent.work.b.v1" && step["outcome"] == "done"
        };
        steps.any(done).then_some(passes)
    };
    let all = wait::until("the pass that declared b's queue is recorded", declared).await;
    assert_eq!(all[0]["node"]["id"], "solo");
    let first = rest.get("/topology/passes?limit=1").await.body;
    assert_eq!((&first["passes"][0], &first["next"]), (&all[0], &all[0]["id"]));
    let others = rest.get(&format!("/topology/passes?after={}", all[0]["id"])).await.body;
    assert_eq!(others["passes"].as_array().expect("passes"), &all[1..]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_deleted_only_when_nothing_needs_it() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    rest.add(receiver.listener("a")).await;
    let queue = "/topology/queues/hearken.mailboxEvent.work.a.v1";
    let used = rest.ask("DELETE", queue).send().await;
    assert_eq!((used.status, used.problem()), (409, "in-use"));
    assert_eq!(rest.node.send("mailboxEvent", "e1").await.status, 202);
    receiver.wait_for("e1").await;
    assert_eq!(rest.ask("DELETE", "/listeners/a?pending=keep&wait=30s").send().await.status, 204);
    let full = wait::until("the kept queue holds its event", async || {
        let answer = rest.ask("DELETE", queue).send().await;
        (answer.problem() == "not-empty").then_some(answer)
    })
    .await;
    assert_eq!((full.status, &full.body["queue"]), (409, &json!("hearken.mailboxEvent.work.a.v1")));
    let deleted = rest.task("DELETE", &format!("{queue}?force")).await;
    assert_eq!(
        (&deleted["status"], &deleted["additionalInformation"]["destroyed"]),
        (&json!("completed"), &json!(1)),
        "{deleted}"
    );
    let gone = rest.ask("DELETE", queue).send().await;
    assert_eq!((gone.status, gone.problem()), (404, "not-found"));
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_listed_with_counts_tombstone_and_remedy() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    receiver.answer(500);
    rest.add(receiver.listener("a")).await;
    rest.add(json!({"class": "log", "group": "b"})).await;
    assert_eq!(rest.node.send("mailboxEvent", "e1").await.status, 202);
    receiver.wait_for("e1").await;
    let removal = "/listeners/a?pending=keep&wait=30s&reason=CHG-1";
    assert_eq!(rest.ask("DELETE", removal).send().await.status, 204);
    let kept = wait::until("the kept queue is counted without a consumer", async || {
        let queue = rest.get("/topology/queues?kind=kept").await.body["queues"][0].clone();
        (queue["consumers"] == 0 && queue["unacked"] == 0).then_some(queue)
    })
    .await;
    let found = ["name", "kind", "bus", "group", "generation", "present", "ready", "remedy"];
    let found: Vec<_> = found.iter().map(|name| kept[name].clone()).collect();
    let queue = "hearken.mailboxEvent.work.a.v1";
    let expected = json!([queue, "kept", "mailboxEvent", "a", 1, true, 1, "add-group"]);
    assert_eq!(json!(found), expected, "{kept}");
    let tombstone = &kept["tombstone"];
    let removed = json!([tombstone["pending"], tombstone["version"], tombstone["reason"]]);
    assert_eq!(removed, json!(["keep", 3, "CHG-1"]));
    assert_eq!(kept["since"], tombstone["removedAt"]);
    let advice = kept["advice"].as_str().unwrap();
    assert!(advice.contains("add group a") && advice.contains(queue), "{advice}");

    let first = rest.get("/topology/queues?limit=1").await.body;
    assert_eq!((&first["queues"][0]["name"], &first["next"]), (&json!(queue), &json!(queue)));
    let rest_of_list = rest.get(&format!("/topology/queues?after={queue}")).await.body;
    let work = &rest_of_list["queues"][0];
    let shown = json!([work["group"], work["kind"], work["consumers"], work["remedy"]]);
    assert_eq!(shown, json!(["b", "work", 1, null]), "{work}");
    assert_eq!(rest_of_list["next"], json!(null));
    let wrong = rest.ask("GET", "/topology/queues?kind=dead").send().await;
    assert_eq!((wrong.status, wrong.problem()), (400, "invalid-parameter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_is_migrated_to_its_next_generation() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    let done = rest
        .task("POST", "/topology/queues/hearken.mailboxEvent.work.a.v1?action=migrate&reason=why")
        .await;
    assert_eq!(done["status"], "completed", "{done}");
    let listener = rest.get("/listeners/a").await.body;
    assert_eq!((&listener["generation"], &listener["reason"]), (&json!(2), &json!("why")));
    let none = rest
        .ask("POST", "/topology/queues/hearken.mailboxEvent.work.b.v1?action=migrate")
        .send()
        .await;
    assert_eq!((none.status, none.problem()), (404, "not-found"));
}

/// The stream of changes, read by lines.
struct Changes {
    answer: reqwest::Response,
    text: String,
}

impl Changes {
    async fn open(rest: &Rest, query: &str, last: Option<&str>) -> Self {
        let mut request = rest
            .client
            .get(format!("{}/topology/changes{query}", rest.node.url))
            .bearer_auth(TOKEN);
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let answer = request.send().await.expect("the node answers");
        assert_eq!(answer.headers()["content-type"], "text/event-stream");
        assert_eq!(answer.headers()["x-accel-buffering"], "no");
        Self { answer, text: String::new() }
    }

    /// The next event, as its fields.
    async fn next(&mut self) -> Value {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let fields = event.lines().filter_map(|line| line.split_once(": "));
                let fields = fields.map(|(name, value)| (name.to_owned(), json!(value)));
                let event = Value::Object(fields.filter(|(name, _)| !name.is_empty()).collect());
                self.text = rest.into();
                return event;
            }
            let chunk = tokio::time::timeout(Duration::from_secs(30), self.answer.chunk()).await;
            let chunk = chunk.expect("an event within 30 seconds").expect("the stream goes on");
            let chunk = chunk.expect("the stream goes on").to_vec();
            self.text.push_str(&String::from_utf8(chunk).expect("the stream is text"));
        }
    }

    /// The next change.
    async fn change(&mut self) -> (String, Value) {
        loop {
            let event = self.next().await;
            if event["event"] == "TopologyChanged" {
                let data = event["data"].as_str().expect("a change has data");
                let data = serde_json::from_str(data).expect("the data is JSON");
                return (event["id"].as_str().expect("a change has an id").to_owned(), data);
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn changes_are_streamed_and_resumed_where_the_client_left_off() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "before"})).await;
    let mut changes = Changes::open(&rest, "", None).await;
    let start = changes.next().await;
    assert!(start["id"].as_str().unwrap().ends_with(":1") && start["data"].is_null(), "{start}");
    rest.add(json!({"class": "log", "group": "a"})).await;
    let (id, change) = changes.change().await;
    assert_eq!(change, json!({"bus": "mailboxEvent", "version": 2, "added": ["a"], "removed": []}));
    drop(changes);
    assert_eq!(rest.ask("DELETE", "/listeners/a?wait=30s").send().await.status, 204);
    rest.add(json!({"class": "log", "group": "a", "bus": "jmapEvent"})).await;
    let mut resumed = Changes::open(&rest, "", Some(&id)).await;
    let removed = json!({"bus": "mailboxEvent", "version": 3, "added": [], "removed": ["a"]});
    assert_eq!(resumed.change().await.1, removed);
    let added = json!({"bus": "jmapEvent", "version": 4, "added": ["a"], "removed": []});
    assert_eq!(resumed.change().await.1, added);
    let mut from = Changes::open(&rest, "?after=2", None).await;
    assert_eq!(from.change().await.1, removed);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_another_history_is_told_to_read_again() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    let foreign = "6e0dd59d-660e-4d9b-b22f-0354479f47b4:1";
    for (query, last) in [("", Some(foreign)), ("?after=99", None)] {
        let mut changes = Changes::open(&rest, query, last).await;
        let event = changes.next().await;
        assert_eq!(
            (&event["event"], &event["data"]),
            (&json!("resync"), &json!("{\"version\":1}"))
        );
    }
    let odd = rest.ask("GET", "/topology/changes").header("last-event-id", "x").send().await;
    assert_eq!((odd.status, odd.problem()), (400, "invalid-parameter"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_stops_ends_its_streams_and_is_gone_in_time() {
    let mut rest = rest::node().await;
    let mut changes = Changes::open(&rest, "", None).await;
    changes.next().await;
    let began = std::time::Instant::now();
    rest.node.terminate().await;
    assert!(began.elapsed() < Duration::from_secs(15), "the stream held the node up");
    assert!(!matches!(changes.answer.chunk().await, Ok(Some(_))));
}
