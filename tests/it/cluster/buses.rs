//! A bus that is added while the nodes run, and a node that defines a bus differently.

use super::drift::names as objects;
use crate::support::{
    node::{Services, Setup},
    receiver::Receiver,
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};

fn names(listing: &Value) -> Vec<&str> {
    let buses = listing["buses"].as_array().expect("a list");
    buses.iter().filter_map(|bus| bus["name"].as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_added_on_one_node_works_on_every_node_without_a_restart() {
    let (services, host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    let receiver = Receiver::start().await;

    let bus = json!({"name": "billing", "reason": "CHG-1"});
    let added = one.call(Method::POST, "/buses", Some(bus.clone())).await;
    assert_eq!((added.status.as_u16(), &added.body["addedBy"]), (201, &json!("admin")));
    let again = two.call(Method::POST, "/buses", Some(bus)).await;
    assert_eq!(again.status.as_u16(), 409, "{}", again.body);
    assert!(again.body["type"].as_str().unwrap().ends_with("/bus-in-use"), "{}", again.body);
    let listing = two.get("/buses").await;
    assert_eq!(names(&listing), ["billing", "jmapEvent", "mailboxEvent"]);
    let history = two.get("/listeners/history").await;
    let event = &history["events"][0];
    assert_eq!((&event["type"], &event["bus"]["name"]), (&json!("BusAdded"), &json!("billing")));
    assert_eq!((&event["reason"], event.get("group")), (&json!("CHG-1"), None));

    let mut listener = receiver.listener("invoices");
    listener["bus"] = json!("billing");
    two.add(listener).await;
    one.wait_listener("invoices", "running").await;
    two.wait_listener("invoices", "running").await;
    assert_eq!(two.send("billing", "from-two").await.status, 202);
    assert_eq!(one.send("billing", "from-one").await.status, 202);
    receiver.wait_for("from-two").await;
    receiver.wait_for("from-one").await;

    // Each node has a queue for the notifications of the bus, bound to its exchange of keys.
    let path = format!("exchanges/{}/hearken.billing.keys/bindings/source", host.name);
    wait::until("both nodes listen to the bus", async || {
        let bindings = host.api(Method::GET, &path, None).await;
        let queues: std::collections::BTreeSet<_> = (bindings.as_array()?.iter())
            .filter_map(|binding| binding["destination"].as_str())
            .collect();
        (queues.len() == 2).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_defines_a_bus_differently_says_so_and_uses_the_recorded_bus() {
    let (services, _host) = Services::fresh().await;
    let file = |codec: &str| format!("[[bus]]\nname = \"billing\"\ncodec = \"{codec}\"\n");
    let one = Setup::cluster("one", &services).with_file(&file("msgpack")).start().await;
    let two = Setup::cluster("two", &services).with_file(&file("json")).start().await;

    let listing = two.get("/buses").await;
    let bus = &listing["buses"][0];
    assert_eq!((&bus["codec"], &bus["addedBy"]), (&json!("msgpack"), &json!("node:one")));
    let path = "/healthcheck/checks/Listeners%20on%20this%20node";
    let health = two.get(path).await;
    let cause = health["cause"].as_str().unwrap_or_default();
    assert!(health["status"] == "degraded" && cause.contains("bus billing"), "{health}");
    assert!(two.log().contains("defines bus billing differently"), "{}", two.log());
    assert_eq!(one.get(path).await["status"], "healthy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_required_listener_may_be_on_a_bus_that_only_the_log_has() {
    let (services, _host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let added = one.call(Method::POST, "/buses", Some(json!({"name": "billing"}))).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let file = |bus: &str| format!("[[required]]\nclass = \"log\"\nbus = \"{bus}\"\n");
    let two = Setup::cluster("two", &services).with_file(&file("billing")).start().await;
    two.wait_listener("log", "running").await;
    assert_eq!(two.get("/listeners/log").await["bus"], "billing");

    let file = file("biling").replace("[[required]]", "[[required]]\ngroup = \"b\"");
    let three = Setup::cluster("three", &services).with_file(&file).start().await;
    let health = three.get("/healthcheck/checks/Listeners%20on%20this%20node").await;
    let cause = health["cause"].as_str().unwrap_or_default();
    assert!(cause.contains("b, which this node's configuration requires"), "{health}");
    assert!(three.log().contains("there is no bus biling"), "{}", three.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_codec_is_used_by_every_node_without_a_restart() {
    let (services, host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    one.add(json!({"class": "log", "group": "a"})).await;
    let queue = json!({"durable": true, "arguments": {"x-queue-type": "classic"}});
    host.api(Method::PUT, &format!("queues/{}/tap", host.name), Some(queue)).await;
    let bindings = format!("bindings/{}/e/hearken.mailboxEvent/q/tap", host.name);
    host.api(Method::POST, &bindings, Some(json!({}))).await;

    let body = json!({"codec": "msgpack", "reason": "CHG-2"});
    let changed = two.call(Method::PUT, "/buses/mailboxEvent", Some(body)).await;
    assert_eq!((changed.status.as_u16(), &changed.body["codec"]), (200, &json!("msgpack")));
    wait::until("node one has the change", async || {
        let listing = one.get("/buses").await;
        (listing["buses"][1]["codec"] == "msgpack").then_some(())
    })
    .await;
    assert_eq!(one.send("mailboxEvent", "e1").await.status, 202);
    let get = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "base64"});
    let path = format!("queues/{}/tap/get", host.name);
    let taken = host.api(Method::POST, &path, Some(get)).await;
    let content_type = &taken[0]["properties"]["content_type"];
    assert_eq!(content_type, "application/cloudevents+msgpack", "{taken}");

    let other = json!({"attached": true, "exchange": "e"});
    let refused = one.call(Method::PUT, "/buses/mailboxEvent", Some(other)).await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert!(refused.body["type"].as_str().unwrap().ends_with("/cannot-change"), "{}", refused.body);
    let unknown = one.call(Method::PUT, "/buses/none", Some(json!({"codec": "json"}))).await;
    assert_eq!(unknown.status, 404, "{}", unknown.body);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bus_without_users_is_removed_with_its_objects_on_the_broker() {
    let (services, host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    let receiver = Receiver::start().await;
    one.call(Method::POST, "/buses", Some(json!({"name": "billing"}))).await;
    let mut listener = receiver.listener("invoices");
    listener["bus"] = json!("billing");
    one.add(listener).await;
    two.wait_listener("invoices", "running").await;
    let remove = async || one.call(Method::DELETE, "/buses/billing?reason=CHG-3", None).await;
    let refused = remove().await;
    assert_eq!(refused.status, 409, "{}", refused.body);
    assert_eq!(refused.body["users"], json!(["listener invoices"]), "{}", refused.body);

    one.remove("invoices", "keep").await;
    let refused = remove().await;
    let users = json!(["queue 1 of group invoices, which is kept"]);
    assert_eq!((refused.status.as_u16(), &refused.body["users"]), (409, &users));
    let mut listener = receiver.listener("invoices");
    listener["bus"] = json!("billing");
    one.add(listener).await;
    one.remove("invoices", "discard").await;
    wait::until("the queue of the listener is deleted", async || {
        (remove().await.status == 204).then_some(())
    })
    .await;
    assert_eq!(names(&two.get("/buses").await), ["jmapEvent", "mailboxEvent"]);
    assert_eq!(two.send("billing", "late").await.status, 404);
    let left = async |what: &str| {
        let all = objects(&host, what).await.into_iter();
        all.filter(|name| name.contains("hearken.billing")).collect::<Vec<_>>()
    };
    wait::within(std::time::Duration::from_mins(2), "the bus leaves the broker", async || {
        (left("queues").await.is_empty() && left("exchanges").await.is_empty()).then_some(())
    })
    .await;
    one.wait_topology("converged").await;
    let again = one.call(Method::POST, "/buses", Some(json!({"name": "billing"}))).await;
    assert_eq!(again.status, 201, "{}", again.body);
    one.wait_topology("converged").await;
}
