//! What a long history costs a client that follows it from its beginning.

use super::faults::log;
use crate::support::{
    node::{Node, Services, Setup, TOKEN},
    wait,
};
use reqwest::Method;
use sqlx::{Connection as _, PgConnection, Row as _};
use std::time::Duration;

/// How often the listener is removed and added again.
const ROUNDS: usize = 120;

/// Reads the stream of changes from the beginning, until it has told so many changes.
async fn read_changes(node: &Node, count: usize) -> String {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("{}/topology/changes?after=0", node.url);
    let mut stream = client.get(url).bearer_auth(TOKEN).send().await.unwrap();
    let mut text = String::new();
    while text.matches("event: TopologyChanged").count() < count {
        let chunk = tokio::time::timeout(Duration::from_secs(30), stream.chunk()).await;
        let chunk = chunk.expect("something within 30 seconds").unwrap().expect("it goes on");
        text.push_str(std::str::from_utf8(&chunk).unwrap());
    }
    text
}

/// Rows of the history that all sessions have read so far.
async fn rows_read(services: &Services) -> i64 {
    let mut session = PgConnection::connect(&services.database).await.unwrap();
    let sql = "SELECT seq_tup_read + COALESCE(idx_tup_fetch, 0) AS rows FROM pg_stat_user_tables WHERE relname = 'roster_event'";
    sqlx::query(sql).fetch_one(&mut session).await.unwrap().get("rows")
}

/// Waits until the sessions of a node that has ended are gone, because each reports what it read
/// when it ends.
async fn sessions_end(services: &Services) {
    let sql = "SELECT count(*) AS others FROM pg_stat_activity \
               WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'";
    wait::until("the sessions of the node have ended", async || {
        let mut session = PgConnection::connect(&services.database).await.unwrap();
        let row = sqlx::query(sql).fetch_one(&mut session).await.unwrap();
        (row.get::<i64, _>("others") == 0).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn following_all_changes_reads_the_history_a_constant_number_of_times() {
    let (services, _host) = Services::fresh().await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(log("a")).await;
    for _ in 0..ROUNDS {
        let removed = node.call(Method::DELETE, "/listeners/a?pending=keep", None).await;
        assert_eq!(removed.status, 204, "{}", removed.body);
        let added = node.call(Method::POST, "/listeners", Some(log("a"))).await;
        assert_eq!(added.status, 201, "{}", added.body);
    }
    let versions = 2 * ROUNDS + 1;
    wait::until("the broker follows", async || {
        let topology = node.get("/topology").await;
        (topology["status"]["reconciledVersion"] == versions).then_some(())
    })
    .await;
    node.terminate().await;
    sessions_end(&services).await;
    let mut node = node.setup.clone().start().await;
    let before = rows_read(&services).await;
    let told = read_changes(&node, versions).await;
    assert!(!told.contains("\"unknown\""), "each removal names its bus");
    node.terminate().await;
    sessions_end(&services).await;
    let read = rows_read(&services).await - before;
    let most = 20 * i64::try_from(versions).unwrap();
    assert!(read < most, "{read} rows were read for {versions} versions");
}
