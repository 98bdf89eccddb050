//! Health, readiness, nodes and metrics.

use crate::support::rest;
use serde_json::json;

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_runs_everything_is_healthy_and_ready() {
    let rest = rest::node().await;
    rest.add(json!({"class": "log", "group": "a"})).await;
    rest.node.wait_listener("a", "running").await;
    let health = rest.get("/healthcheck").await.body;
    assert_eq!(health["status"], "healthy", "{health}");
    let names = rest.get("/healthcheck/checks").await.body;
    let names: Vec<_> = names.as_array().unwrap().iter().map(|c| &c["componentName"]).collect();
    assert!(names.contains(&&json!("Listener topology")), "{names:?}");
    let one = rest.get("/healthcheck/checks/Listener%20topology").await.body;
    assert_eq!(
        (&one["escapedComponentName"], &one["cause"]),
        (&json!("Listener%20topology"), &json!(null))
    );
    let some = rest.get("/healthcheck?check=Database&check=Listener+topology").await.body;
    assert_eq!(some["checks"].as_array().unwrap().len(), 2);
    assert_eq!(rest.get("/readyz").await.body, json!({"state": "ready", "listeners": []}));
    assert_eq!(rest.get("/livez").await.body, json!({"status": "alive"}));
    let node = &rest.get("/nodes").await.body["nodes"][0];
    assert_eq!((&node["id"], &node["state"]), (&json!("solo"), &json!("ready")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_component_that_there_is_not_is_named() {
    let rest = rest::node().await;
    let one = rest.ask("GET", "/healthcheck/checks/Nope").send().await;
    assert_eq!(
        (one.status, one.body["detail"].as_str()),
        (404, Some("Component with name Nope cannot be found"))
    );
    let two = rest.ask("GET", "/healthcheck?check=A&check=Database&check=B").send().await;
    assert_eq!(
        (two.status, two.body["detail"].as_str()),
        (404, Some("Components with name A, B cannot be found"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_run_a_listener_is_degraded_and_says_which_and_why() {
    let first = rest::node().await;
    let variable = json!({"url": {"env": "HEARKEN_SECRET_NOT_SET"}});
    let listener = json!({"class": "webhook", "group": "a", "configuration": variable});
    let answer = first.ask("POST", "/listeners").json(&listener).send().await;
    assert_eq!(answer.status, 201, "{}", answer.text);
    first.node.wait_listener("a", "failed").await;
    let ready = first.ask("GET", "/readyz").send().await;
    assert_eq!((ready.status, &ready.body["state"]), (200, &json!("degraded")));
    assert_eq!(first.ask("GET", "/readyz?strict").send().await.status, 503);
    let metric = "hearken_listeners{state=\"failed\"} 1";
    assert!(first.get("/metrics").await.text.contains(metric));
    let listener = &ready.body["listeners"][0];
    assert_eq!((&listener["group"], &listener["state"]), (&json!("a"), &json!("failed")));
    assert!(listener["cause"].as_str().unwrap().contains("HEARKEN_SECRET_NOT_SET"), "{listener}");
    let path = "/healthcheck/checks/Listeners%20on%20this%20node";
    let told = crate::support::wait::until("health is computed again", async || {
        Some(first.get(path).await.body).filter(|check| check["status"] == "degraded")
    })
    .await;
    assert!(told["cause"].as_str().unwrap().contains("HEARKEN_SECRET_NOT_SET"), "{told}");
    for path in [path, "/healthcheck", "/readyz"] {
        let public = first.ask("GET", path).token(None).send().await.text;
        assert!(public.contains("degraded") && !public.contains("NOT_SET"), "{public}");
    }
    assert_eq!(first.ask("GET", &format!("{path}?strict")).send().await.status, 503);
    assert_eq!(first.ask("DELETE", "/listeners/a").send().await.status, 204);
    crate::support::wait::until("the node is ready again", async || {
        (first.ask("GET", "/readyz?strict").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_count_requests_by_route_and_never_by_path() {
    let rest = rest::node().await;
    rest.ask("GET", "/listeners/secret-name").send().await;
    rest.ask("GET", "/no/such/path").send().await;
    rest.ask("BREW", "/livez").send().await;
    let metrics = rest.get("/metrics").await;
    assert!(metrics.text.contains("route=\"/listeners/{group}\""), "{}", metrics.text);
    assert!(metrics.text.contains("method=\"other\""), "{}", metrics.text);
    for leaked in ["secret-name", "/no/such/path", "BREW"] {
        assert!(!metrics.text.contains(leaked), "{leaked}");
    }
    assert!(metrics.text.ends_with("# EOF\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_without_a_token_cost_one_computation_of_health() {
    let rest = rest::node().await;
    let asked = (0..100).map(|_| rest.ask("GET", "/healthcheck").token(None).send());
    for answer in futures_util::future::join_all(asked).await {
        let checks = answer.body["checks"].as_array().unwrap();
        assert!(checks.iter().all(|check| check["cause"].is_null()), "{}", answer.text);
    }
    let metrics = rest.get("/metrics").await.text;
    let computed = metrics
        .lines()
        .find_map(|line| line.strip_prefix("hearken_health_checks_total ")?.parse::<u32>().ok());
    assert!(matches!(computed, Some(1 | 2)), "at most one in five seconds: {computed:?}");
}
