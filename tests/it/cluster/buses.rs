//! A bus that is added while the nodes run, and a node that defines a bus differently.

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
