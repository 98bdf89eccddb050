//! What a cluster costs while nothing happens.

use crate::support::{
    node::{Services, Setup},
    wait,
};
use serde_json::json;
use sqlx::{Connection, PgConnection};
use std::time::Duration;

/// Number of nodes that run. A cluster of eight costs eight times as much as one node.
const NODES: u32 = 3;

/// Statements a second that eight idle nodes may cost.
const OF_EIGHT: f64 = 5.0;

/// Transactions of a database so far. Each statement outside a transaction is one.
async fn transactions(session: &mut PgConnection) -> i64 {
    // The view keeps its values for a transaction, and the sessions report within a second.
    let sql = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = current_database()";
    sqlx::query_scalar(sql).fetch_one(session).await.expect("the statistics can be read")
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_idle_nodes_cost_at_most_five_statements_a_second() {
    let (services, _host) = Services::fresh().await;
    let mut nodes = Vec::new();
    for number in 0..NODES {
        let mut setup = Setup::cluster(&format!("n{number}"), &services);
        setup.flags.clear();
        nodes.push(setup.start().await);
    }
    nodes[0].add(json!({"class": "log", "group": "stays"})).await;
    nodes[0].add(json!({"class": "log", "group": "drained"})).await;
    nodes[0].remove("drained", "drain").await;
    wait::within(Duration::from_mins(1), "the queue is drained and deleted", async || {
        (nodes[0].topology_state().await == "converged").then_some(())
    })
    .await;
    let mut session = PgConnection::connect(&services.database).await.expect("PostgreSQL answers");
    let span = Duration::from_secs(40);
    let before = transactions(&mut session).await;
    wait::pace(span).await;
    let after = transactions(&mut session).await;
    let rate = f64::from(u32::try_from(after - before).unwrap()) / span.as_secs_f64();
    let of_eight = rate / f64::from(NODES) * 8.0;
    println!("{NODES} idle nodes: {rate:.2} statements a second; eight: {of_eight:.2}");
    assert!(of_eight <= OF_EIGHT, "eight idle nodes cost {of_eight:.2} statements a second");
}
