//! Nodes that may not write, nodes that die with a lease, and the number of their connections.

use super::{
    drift::{WORK, names},
    faults::log,
};
use crate::support::{
    node::{Node, Services, Setup},
    wait,
};
use reqwest::Method;
use sqlx::{Connection as _, PgConnection, Row as _, postgres::PgRow};
use std::time::{Duration, Instant};

async fn on_database(services: &Services, sql: &str) -> Vec<PgRow> {
    let mut session = PgConnection::connect(&services.database).await.unwrap();
    // The administrator of a read-only database may still write.
    let writing = "SET default_transaction_read_only = off";
    sqlx::raw_sql(writing).execute(&mut session).await.unwrap();
    let sql = sqlx::AssertSqlSafe(sql.to_owned());
    sqlx::raw_sql(sql).fetch_all(&mut session).await.unwrap()
}

async fn set_read_only(services: &Services, value: &str) {
    let (_, name) = services.database.rsplit_once('/').unwrap();
    let set = format!("ALTER DATABASE {name} SET default_transaction_read_only = {value}");
    on_database(services, &set).await;
    let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
               WHERE datname = current_database() AND application_name = 'hearken'";
    on_database(services, end).await;
}

async fn cause(node: &Node, component: &str) -> Option<String> {
    let path = format!("/healthcheck/checks/{}", component.replace(' ', "%20"));
    let check = node.try_call(Method::GET, &path, None).await.ok()?;
    Some(check.body["cause"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_cannot_write_changes_nothing_on_the_broker_and_recovers() {
    let (services, host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    node.add(log("a")).await;
    node.wait_listener("a", "running").await;
    node.wait_topology("converged").await;
    set_read_only(&services, "on").await;
    wait::until("the health says why", async || {
        cause(&node, "Database").await.filter(|cause| cause.contains("takes no changes"))
    })
    .await;
    // Drift that a pass would repair, and a removal that only the database knows.
    let binding = format!("bindings/{}/e/hearken.mailboxEvent/q/{WORK}", host.name);
    let bound = host.api(Method::GET, &binding, None).await;
    let properties = bound[0]["properties_key"].as_str().unwrap().to_owned();
    host.api(Method::DELETE, &format!("{binding}/{properties}"), None).await;
    let before = names(&host, "bindings").await;
    let began = Instant::now();
    wait::until("several passes had their turn", async || {
        assert_eq!(names(&host, "bindings").await, before);
        (began.elapsed() > Duration::from_secs(8)).then_some(())
    })
    .await;

    set_read_only(&services, "off").await;
    wait::until("the binding is back", async || {
        (names(&host, "bindings").await.len() > before.len()).then_some(())
    })
    .await;
    node.wait_topology("converged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_killed_with_the_lease_keeps_no_other_node_from_its_work() {
    let (services, _host) = Services::fresh().await;
    let one = Setup::cluster("one", &services).start().await;
    // As a node leaves it that was killed in the middle of a pass a moment ago.
    on_database(
        &services,
        "UPDATE lease SET holder = 'killed', token = token + 1, \
         expires_at = (SELECT now FROM clock) + 10000000 WHERE name = 'passes' RETURNING token",
    )
    .await;
    one.add(log("a")).await;
    one.wait_listener("a", "running").await;
    one.wait_topology("converged").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_busy_node_has_no_more_connections_than_its_setting_says() {
    let (services, _host) = Services::fresh().await;
    let node =
        Setup::cluster("one", &services).with(&["--database-connections", "5"]).start().await;
    let requests = (0..40).map(|number| node.add(log(&format!("g{number}"))));
    futures_util::future::join_all(requests).await;
    let count = "SELECT count(*) AS number FROM pg_stat_activity \
                 WHERE datname = current_database() AND application_name = 'hearken'";
    let number: i64 = on_database(&services, count).await[0].get("number");
    assert!(number <= 5, "{number} connections");
}
