//! What health, metrics and a listener tell of events in trouble.

use super::dead_letters::{entries, event, failing, send};
use crate::support::{receiver::Receiver, rest, wait};
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn health_metrics_and_the_listener_tell_of_dead_letters_and_reading_changes_nothing() {
    let rest = rest::node().await;
    let receiver = Receiver::start().await;
    let health = async || rest.get("/healthcheck/checks/Event%20dead%20letters").await.body;
    assert_eq!(health().await["status"], "healthy");
    assert!(
        rest.get("/metrics")
            .await
            .text
            .contains("hearken_cluster_dead_letters{bus=\"mailboxEvent\",group=\"parked\"} 0")
    );
    failing(&rest, &receiver, "a").await;
    send(&rest, event("1", "Tested", "bob")).await;
    let kept = entries(&rest, "", 1).await;
    let told = wait::until("health is computed again", async || {
        Some(health().await).filter(|told| told["status"] == "degraded")
    })
    .await;
    let cause = told["cause"].as_str().unwrap();
    assert!(cause.contains("1 of a on mailboxEvent since 20"), "{cause}");
    let listener = rest.get("/listeners/a").await.body;
    assert_eq!((&listener["deadLetters"], &listener["backlog"]["ready"]), (&json!(1), &json!(0)));
    for _ in 0..3 {
        assert_eq!(rest.get("/healthcheck").await.body["status"], "degraded");
    }
    assert_eq!(rest.get("/listeners/a").await.body["backlog"], listener["backlog"]);
    assert_eq!(entries(&rest, "", 1).await, kept);
    let series = "hearken_cluster_dead_letters{bus=\"mailboxEvent\",group=\"a\"} 1";
    wait::until("a scrape counts again", async || {
        rest.get("/metrics").await.text.contains(series).then_some(())
    })
    .await;
    assert_eq!(rest.ask("DELETE", "/events/deadLetter/groups/a").send().await.status, 204);
    wait::until("health is computed again", async || {
        (health().await["status"] == "healthy").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_with_waiting_events_and_no_consumer_is_told_with_how_much_waits() {
    let rest = rest::node().await;
    let variable = json!({"url": {"env": "HEARKEN_SECRET_NOT_SET"}});
    rest.add(json!({"class": "webhook", "group": "idle", "configuration": variable})).await;
    rest.node.wait_listener("idle", "failed").await;
    let path = "/healthcheck/checks/Event%20bus%20consumers";
    wait::until("health is computed again", async || {
        (rest.get(path).await.body["cause"] == "no consumer for idle").then_some(())
    })
    .await;
    for name in ["1", "2"] {
        send(&rest, event(name, "Tested", "bob")).await;
    }
    wait::until("health tells how much waits", async || {
        let cause = rest.get(path).await.body["cause"].as_str()?.to_owned();
        cause.starts_with("no consumer for idle (2 events wait, the oldest for ").then_some(())
    })
    .await;
    let notifications = rest.get("/healthcheck/checks/Notification%20queue").await.body;
    assert_eq!(notifications["status"], "healthy", "{notifications}");
}
