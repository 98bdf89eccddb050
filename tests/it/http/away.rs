//! Answers while the broker or the database is away.

use crate::support::{
    node::{Services, Setup},
    proxy::{Proxy, Wire, port_of},
    rest::Rest,
    wait,
};
use futures_util::future::{join, join_all};
use serde_json::json;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread")]
async fn a_topology_whose_broker_is_away_shows_what_is_known_without_it() {
    let (mut services, _host) = Services::fresh().await;
    let management = Proxy::before(port_of(&services.management)).await;
    services.management = management.through(&services.management);
    let rest = Rest::new(Setup::cluster("one", &services).start().await);
    rest.add(json!({"class": "log", "group": "a"})).await;
    management.set(Wire::Cut);
    let answer = rest.ask("GET", "/topology").send().await;
    assert_eq!((answer.status, answer.problem()), (503, "broker-unavailable"), "{}", answer.text);
    assert_eq!(answer.body["topologyStatus"]["rosterVersion"], 1);
    let queues = answer.body["desired"]["queues"].as_array().unwrap();
    assert!(queues.iter().any(|queue| queue["name"] == "hearken.mailboxEvent.work.a.v1"));
    assert_eq!(answer.body["observed"], json!(null));
    assert!(!answer.header("retry-after").is_empty());
    let listed = rest.ask("GET", "/topology/queues?kind=work").send().await;
    assert_eq!((listed.status, listed.problem()), (503, "broker-unavailable"), "{}", listed.text);
    let queue = &listed.body["queues"][0];
    assert_eq!(json!([queue["group"], queue["present"], queue["ready"]]), json!(["a", null, null]));
    for (method, path) in [
        ("POST", "/topology?action=reconcile&dryRun"),
        ("DELETE", "/topology/queues/hearken.mailboxEvent.work.a.v1"),
    ] {
        let answer = rest.ask(method, path).send().await;
        assert_eq!((answer.status, answer.problem()), (503, "broker-unavailable"), "{path}");
    }
    let detail = rest.get("/listeners/a").await.body;
    assert_eq!(detail["backlog"], json!(null), "{detail}");
    management.set(Wire::Up);
    wait::until("the topology is shown again", async || {
        (rest.ask("GET", "/topology").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_away_is_a_problem_that_names_no_address() {
    let (mut services, _host) = Services::fresh().await;
    let database = Proxy::before(port_of(&services.database)).await;
    services.database = database.through(&services.database);
    let rest = Rest::new(Setup::cluster("one", &services).start().await);
    database.set(Wire::Cut);
    for (method, path) in [
        ("GET", "/listeners"),
        ("GET", "/nodes"),
        ("GET", "/tasks"),
        ("GET", "/topology"),
        ("POST", "/topology?action=reconcile"),
        ("DELETE", "/listeners/a"),
    ] {
        let answer = rest.ask(method, path).send().await;
        assert_eq!((answer.status, answer.problem()), (503, "store-unavailable"), "{path}");
        assert!(!answer.header("retry-after").is_empty());
        assert!(!answer.text.contains("127.0.0.1"), "{}", answer.text);
    }
    let health = rest.ask("GET", "/healthcheck/checks/Database").send().await;
    assert_eq!((health.status, &health.body["status"]), (503, &json!("unhealthy")));
    assert_eq!(rest.ask("GET", "/livez").send().await.status, 200);
    database.set(Wire::Up);
    wait::until("the roster is served again", async || {
        (rest.ask("GET", "/listeners").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_that_wait_for_a_silent_database_fail_together() {
    let (mut services, _host) = Services::fresh().await;
    let database = Proxy::before(port_of(&services.database)).await;
    services.database = database.through(&services.database);
    let rest = Rest::new(Setup::cluster("one", &services).start().await);
    rest.add(json!({"class": "log", "group": "a"})).await;
    database.set(Wire::BlackHole);
    let began = Instant::now();
    let reads = (0..12).map(|_| rest.ask("GET", "/listeners").send());
    let removals =
        (0..12).map(|number| rest.ask("DELETE", &format!("/listeners/g{number}")).send());
    let (reads, removals) = join(join_all(reads), join_all(removals)).await;
    for answer in reads.iter().chain(&removals) {
        assert_eq!(
            (answer.status, answer.problem()),
            (503, "store-unavailable"),
            "{}",
            answer.text
        );
    }
    // One statement ends after 15 seconds at the latest, and twelve after each other would not.
    let waited = began.elapsed();
    assert!(waited < Duration::from_secs(30), "24 requests waited {waited:?}");
    database.set(Wire::Up);
    wait::until("the roster is served again", async || {
        (rest.ask("GET", "/listeners").send().await.status == 200).then_some(())
    })
    .await;
}
