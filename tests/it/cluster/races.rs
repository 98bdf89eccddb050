//! Two nodes, many administrators.

use crate::support::node::{Services, Setup};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};

fn add(group: &str) -> Value {
    json!({"class": "log", "group": group})
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_nodes_that_add_one_group_one_succeeds_and_one_is_told_that_it_is_in_use() {
    let (services, _host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    for round in 0..10 {
        let group = format!("contested-{round}");
        let (a, b) = tokio::join!(
            one.call(Method::POST, "/listeners", Some(add(&group))),
            two.call(Method::POST, "/listeners", Some(add(&group))),
        );
        let mut statuses = [a.status.as_u16(), b.status.as_u16()];
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409], "{} {}", a.body, b.body);
        let refused = if a.status == 409 { a } else { b };
        assert!(
            refused.body["type"].as_str().unwrap().ends_with("group-in-use"),
            "{}",
            refused.body
        );
        assert_eq!(refused.body["class"], "log");
    }
    let history = one.get("/listeners/history").await;
    assert_eq!(history["events"].as_array().unwrap().len(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_groups_added_at_once_on_two_nodes_all_succeed() {
    let (services, _host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    let two = Setup::cluster("two", &services).start().await;
    let answers = join_all((0..200).map(|number| {
        let node = if number % 2 == 0 { &one } else { &two };
        async move {
            let listener =
                json!({"class": "log", "group": format!("g{number}"), "retry": {"attempts": 1}});
            node.call(Method::POST, "/listeners", Some(listener)).await
        }
    }))
    .await;
    for answer in &answers {
        assert_eq!(answer.status, 201, "{}", answer.body);
    }
    let history = one.get("/listeners/history?limit=1000").await;
    let versions: Vec<u64> = history["events"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| e["version"].as_u64().unwrap())
        .collect();
    assert_eq!(versions, (1..=200).collect::<Vec<_>>());
    let first = two.get("/listeners").await;
    assert_eq!(first["listeners"].as_array().unwrap().len(), 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_that_require_the_same_listener_both_start_and_it_is_there_once() {
    let (services, _host) = Services::fresh().await;
    let file = "[[required]]\nclass = \"log\"\ngroup = \"audit\"\n";
    let start = |id: &str| Setup::cluster(id, &services).with_file(file).launch();
    // The schema exists before the race: who makes it is not what is raced for here.
    let first = Setup::cluster("zero", &services).start().await;
    let (mut one, mut two) = (start("one"), start("two"));
    tokio::join!(one.wait_ready(), two.wait_ready());
    let history = first.get("/listeners/history").await;
    let events = history["events"].as_array().unwrap();
    assert_eq!(events.len(), 1, "{history}");
    assert!(events[0]["actor"].as_str().unwrap().starts_with("node:"));
    let refused = one.call(Method::DELETE, "/listeners/audit", None).await;
    assert_eq!(refused.status, 409);
    assert!(refused.body["type"].as_str().unwrap().ends_with("required-here"));
    assert_eq!(first.call(Method::DELETE, "/listeners/audit", None).await.status, 204);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_nodes_that_start_on_an_empty_database_at_once_both_come_up() {
    let (services, _host) = Services::fresh().await;
    let mut one = Setup::cluster("one", &services).launch();
    let mut two = Setup::cluster("two", &services).launch();
    tokio::join!(one.wait_ready(), two.wait_ready());
    one.add(json!({"class": "log", "group": "a"})).await;
    two.wait_listener("a", "running").await;
}
