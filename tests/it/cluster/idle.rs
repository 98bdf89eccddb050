//! What a cluster costs while nothing happens.
//!
//! The costs are counted and not measured, so a loaded machine does not change them.

use crate::support::{
    node::{Node, Services, Setup},
    proxy::{Proxy, port_of},
    services::{self, VirtualHost},
    wait,
};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use sqlx::{PgConnection, Row as _};
use std::{collections::BTreeMap, time::Duration};

/// Number of nodes that run.
const NODES: usize = 8;

/// Time for which the costs are counted. A cluster makes one or two passes in it.
const WINDOW: Duration = Duration::from_secs(30);

/// Statements a second that the cluster may cost.
const STATEMENTS: f64 = 5.0;

/// Requests to the management API a second that the cluster may cost.
const REQUESTS: f64 = 1.0;

/// Calls of each statement.
type Calls = BTreeMap<String, i64>;

/// Counts what a cluster asks of its database and of the management API.
struct Meter {
    session: PgConnection,
    database: String,
    management: Proxy,
}

impl Meter {
    async fn of(services: &Services, management: Proxy) -> Self {
        let mut session = services::superuser().await;
        let extension = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements";
        sqlx::query(extension)
            .execute(&mut session)
            .await
            .expect("PostgreSQL has its library pg_stat_statements (a package with 'contrib')");
        let (_, database) = services.database.rsplit_once('/').expect("the URL names a database");
        Self { session, database: database.to_owned(), management }
    }

    /// Calls of each statement in the database so far. A `BEGIN` and a `COMMIT` are statements.
    async fn calls(&mut self) -> Calls {
        let sql = "SELECT query, sum(calls)::bigint AS calls FROM pg_stat_statements AS s \
                   JOIN pg_database AS d ON d.oid = s.dbid WHERE datname = $1 GROUP BY query";
        let rows = sqlx::query(sql).bind(&self.database).fetch_all(&mut self.session).await;
        let rows = rows.expect("the statistics can be read");
        rows.iter().map(|row| (row.get("query"), row.get("calls"))).collect()
    }

    /// Counts for a while. Fails when the cluster costs more than it may.
    async fn check(&mut self, state: &str) {
        let (before, reads) = (self.calls().await, self.management.reads());
        wait::pace(WINDOW).await;
        let after = self.calls().await;
        let requests = rate(self.management.reads() - reads);
        let mut counts: Vec<(i64, &str)> = (after.iter())
            .map(|(sql, calls)| (calls - before.get(sql).unwrap_or(&0), sql.as_str()))
            .filter(|(calls, _)| *calls > 0)
            .collect();
        counts.sort_unstable();
        let all = counts.iter().map(|(calls, _)| u64::try_from(*calls).unwrap()).sum();
        let statements = rate(all);
        let shown: Vec<String> = (counts.iter().rev())
            .map(|(calls, sql)| format!("{calls:5}  {}", sql.chars().take(90).collect::<String>()))
            .collect();
        let shown = shown.join("\n");
        println!(
            "{state}: {statements:.2} statements and {requests:.2} requests a second\n{shown}"
        );
        assert!(all > 0, "{state}: a cluster sends heartbeats, and no statement was counted");
        assert!(statements <= STATEMENTS, "{state}: {statements:.2} statements a second:\n{shown}");
        assert!(requests <= REQUESTS, "{state}: {requests:.2} management requests a second");
    }
}

#[expect(clippy::cast_precision_loss, reason = "the counts are small")]
fn rate(count: u64) -> f64 {
    count as f64 / WINDOW.as_secs_f64()
}

/// Nodes with the settings that hearken has without flags.
async fn cluster(services: &Services) -> Vec<Node> {
    let setup = |number: usize| Setup {
        flags: Vec::new(),
        ..Setup::cluster(&format!("n{number}"), services)
    };
    let first = setup(0).start().await;
    let others = join_all((1..NODES).map(|number| setup(number).start())).await;
    std::iter::once(first).chain(others).collect()
}

/// Deletes the marker and makes a pass notice that.
async fn block(node: &Node, host: &VirtualHost) {
    let path = format!("exchanges/{}/hearken.meta", host.name);
    host.api(Method::DELETE, &path, None).await;
    node.call(Method::POST, "/topology?action=reconcile", Some(json!({}))).await;
    node.wait_topology("blocked").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_idle_nodes_cost_five_statements_and_one_request_a_second_at_most() {
    let (services, host) = Services::fresh().await;
    let management = Proxy::before(port_of(&services.management)).await;
    let through = management.through(&services.management);
    let services = Services { management: through, ..services };
    let nodes = cluster(&services).await;
    let mut meter = Meter::of(&services, management).await;
    nodes[0].add(json!({"class": "log", "group": "stays"})).await;
    nodes[0].add(json!({"class": "log", "group": "drained"})).await;
    meter.check("converged").await;

    nodes[0].remove("drained", "drain").await;
    nodes[0].wait_topology("converged").await;
    meter.check("after a drain").await;

    block(&nodes[0], &host).await;
    meter.check("blocked").await;
}
