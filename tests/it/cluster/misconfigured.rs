//! Wrong addresses, wrong passwords, wrong answers: the message says which, and what to check.

use crate::support::node::{Node, Services, Setup, topology_status};
use axum::{
    Json, Router,
    http::{StatusCode, Uri},
    response::Html,
};
use reqwest::Method;
use serde_json::{Value, json};

async fn topology_cause(node: &Node) -> String {
    node.wait_topology("unknown").await;
    crate::support::wait::until("the cause is told", async || {
        let answer = node.call(Method::GET, "/topology", None).await;
        topology_status(&answer.body)["failure"]["cause"].as_str().map(ToOwned::to_owned)
    })
    .await
}

/// Serves one answer to everything.
async fn always(router: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://guest:guest@{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

fn start(services: &Services) -> Node {
    Setup::cluster("one", services).launch()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_broker_password_is_a_state_that_names_the_flag_and_hides_the_password() {
    let (services, _host) = Services::fresh().await;
    let wrong = Services { amqp: services.amqp.replace("guest:guest", "guest:s3cret"), ..services };
    let mut node = start(&wrong);
    node.wait_status("/livez", 200).await;
    let answer =
        node.call(Method::POST, "/listeners", Some(json!({"class": "log", "group": "a"}))).await;
    assert_eq!((answer.status.as_u16(), &answer.body["topology"]), (201, &json!("pending")));
    let cause = topology_cause(&node).await;
    assert!(cause.contains("--amqp-url"), "{cause}");
    assert!(!cause.contains("s3cret") && !node.log().contains("s3cret"), "{cause}\n{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_virtual_host_that_does_not_exist_is_named() {
    let (services, host) = Services::fresh().await;
    let wrong = Services { amqp: services.amqp.replace(&host.name, "no-such-vhost"), ..services };
    let mut node = start(&wrong);
    node.wait_status("/livez", 200).await;
    let cause = topology_cause(&node).await;
    assert!(cause.contains("no-such-vhost"), "{cause}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_management_api_that_refuses_or_answers_html_is_told_apart() {
    let refuses = always(Router::new().fallback(async || StatusCode::UNAUTHORIZED)).await;
    let page = always(Router::new().fallback(async || Html("<html>a proxy's page</html>"))).await;
    for (management, said) in [(refuses, "--management-url"), (page, "html")] {
        let (services, _host) = Services::fresh().await;
        let mut node = start(&Services { management, ..services });
        node.wait_status("/livez", 200).await;
        let cause = topology_cause(&node).await;
        assert!(cause.contains(said), "{cause}");
        assert!(!cause.contains("guest:guest"), "{cause}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_management_api_of_another_broker_stops_the_pass_before_it_changes_anything() {
    // Another broker: it knows no object of the virtual host.
    let unknown = async |uri: Uri| {
        let body = json!({"error": "Object Not Found", "reason": "Not Found"});
        let one_object = uri.path().split('/').count() > 4;
        if one_object {
            (StatusCode::NOT_FOUND, Json(body))
        } else {
            (StatusCode::OK, Json(json!([])))
        }
    };
    let (services, host) = Services::fresh().await;
    let management = always(Router::new().fallback(unknown)).await;
    let mut node = start(&Services { management, ..services });
    node.wait_status("/livez", 200).await;
    let cause = topology_cause(&node).await;
    for part in ["different brokers", "--management-url", "--amqp-url"] {
        assert!(cause.contains(part), "{part}: {cause}");
    }
    assert!(!cause.contains("guest:guest"), "{cause}");
    let exchanges = host.api(Method::GET, &format!("exchanges/{}", host.name), None).await;
    let ours = |exchange: &&Value| exchange["name"].as_str().unwrap().starts_with("hearken");
    let made: Vec<_> = exchanges.as_array().unwrap().iter().filter(ours).collect();
    assert!(made.is_empty(), "{made:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_not_there_ends_the_start_with_what_to_check() {
    let (services, _host) = Services::fresh().await;
    let (base, _) = services.database.rsplit_once('/').unwrap();
    let nowhere = "postgres://hearken:s3cret@127.0.0.1:1/none".to_owned();
    for database in [format!("{base}/no_such_database"), nowhere] {
        let setup = Setup::cluster("one", &Services { database, ..services.clone() });
        let output = setup.command(0).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("--database-url"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_url_without_the_other_is_a_mistake_that_says_so() {
    let mut setup = Setup::embedded("one");
    setup.flags = vec!["--amqp-url".into(), "amqp://localhost".into()];
    let output = setup.command(0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("--database-url"), "{said}");
}
