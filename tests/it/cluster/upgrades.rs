//! Versions that run side by side on one database, with data in its tables.
//!
//! There is one program. A process is made older by the number of event forms that it reports, and
//! the schema is made newer by a step that this program does not know.

use super::faults::log;
use crate::support::{
    node::{Node, Services, Setup},
    wait,
};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, Row as _};
use std::process::Command;

async fn on_database(services: &Services, sql: &str) {
    let mut session = PgConnection::connect(&services.database).await.unwrap();
    sqlx::raw_sql(sqlx::AssertSqlSafe(sql.to_owned())).execute(&mut session).await.unwrap();
}

/// Makes the heartbeats of a node report what an older program knows: form 1 of the events, or step
/// 1 of the schema.
async fn make_older(services: &Services, id: &str, column: &str) {
    let sql = format!(
        "CREATE FUNCTION older() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN NEW.{column} := 1; RETURN NEW; END'; \
         CREATE TRIGGER older BEFORE INSERT OR UPDATE ON node FOR EACH ROW \
         WHEN (NEW.id = '{id}') EXECUTE FUNCTION older()"
    );
    on_database(services, &sql).await;
    let known = format!("SELECT {column} AS known FROM node WHERE id = '{id}'");
    wait::until("the node reports less", async || {
        let mut session = PgConnection::connect(&services.database).await.unwrap();
        let known = sqlx::AssertSqlSafe(known.clone());
        let row = sqlx::query(known).fetch_one(&mut session).await.unwrap();
        (row.get::<i64, _>("known") == 1).then_some(())
    })
    .await;
}

/// The step of a newer program: a column and a table more, and who may read and write then.
async fn make_newer(services: &Services, min_reader: i64, min_writer: i64) {
    let added = "ALTER TABLE roster_event ADD COLUMN later text; \
        ALTER TABLE node ADD COLUMN later bigint NOT NULL DEFAULT 7; \
        ALTER TABLE dead_letter ADD COLUMN later text; CREATE TABLE later (id bigint)";
    let noted = "INSERT INTO hearken_migration (version, name, min_reader, min_writer)";
    let sql = format!("{added}; {noted} VALUES (900, '0900_later', {min_reader}, {min_writer})");
    on_database(services, &sql).await;
}

/// Runs `hearken migrate`. Returns the exit code, and what the command printed.
fn migrate(services: &Services, flags: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hearken"));
    command.args(["migrate", "--database-url", &services.database]).args(flags);
    let output = command.output().expect("the program starts");
    let printed = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&printed).into_owned())
}

/// Publishes an event through a node, and waits until so many are handled by a group in all.
async fn handle(nodes: &[&Node], through: &Node, group: &str, id: &str, total: f64) {
    assert_eq!(through.send("mailboxEvent", id).await.status, 202);
    let series = format!("hearken_handled_total{{bus=\"mailboxEvent\",group=\"{group}\"}}");
    wait::until(&format!("{group} handled {total} events"), async || {
        let mut handled = 0.0;
        for node in nodes {
            handled += super::metrics::value(node, &series).await.unwrap_or_default();
        }
        (handled >= total).then_some(())
    })
    .await;
}

async fn history(node: &Node) -> Vec<Value> {
    node.get("/listeners/history").await["events"].as_array().unwrap().clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_of_a_new_form_is_written_once_the_older_process_has_stopped() {
    let (services, _host) = Services::fresh().await;
    let mut old = Setup::cluster("old", &services).start().await;
    old.add(log("a")).await;
    let new = Setup::cluster("new", &services).start().await;
    make_older(&services, "old", "event_forms").await;

    // What both know goes on through either.
    new.add(log("b")).await;
    old.add(log("c")).await;
    for node in [&old, &new] {
        for group in ["a", "b", "c"] {
            node.wait_listener(group, "running").await;
        }
    }
    handle(&[&old, &new], &old, "a", "e1", 1.0).await;
    handle(&[&old, &new], &new, "a", "e2", 2.0).await;

    let changed = json!({"class": "log", "configuration": {"level": "debug"}});
    for node in [&old, &new] {
        for (method, path, body) in [
            (Method::PUT, "/listeners/a", Some(changed.clone())),
            (Method::POST, "/listeners/a?action=pause", None),
        ] {
            let refused = node.call(method, path, body).await;
            assert_eq!(refused.status, 409, "{path}: {}", refused.body);
            assert_eq!(refused.body["type"], "/problems/outdated-node", "{path}");
            assert_eq!(refused.body["node"], "old");
        }
        assert_eq!(history(node).await.len(), 3, "a refused command records nothing");
    }
    new.remove("c", "discard").await;

    old.terminate().await;
    let accepted = new.call(Method::PUT, "/listeners/a", Some(changed)).await;
    assert_eq!(accepted.status, 200, "{}", accepted.body);
    assert_eq!(history(&new).await.len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn processes_run_and_start_beside_a_newer_schema_that_only_added() {
    let (services, _host) = Services::fresh().await;
    let mut running = Setup::cluster("running", &services).start().await;
    running.add(log("a")).await;
    handle(&[&running], &running, "a", "e1", 1.0).await;
    make_newer(&services, 2, 2).await;

    let started = Setup::cluster("started", &services).start().await;
    started.add(log("b")).await;
    running.add(log("c")).await;
    handle(&[&running, &started], &started, "a", "e2", 2.0).await;
    running.terminate().await;
    let restarted = running.setup.clone().start().await;
    restarted.remove("b", "keep").await;
    assert_eq!(history(&restarted).await, history(&started).await);
    assert_eq!(history(&started).await.len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_older_programs_may_not_write_keeps_them_from_starting() {
    let (services, _host) = Services::fresh().await;
    let mut node = Setup::cluster("one", &services).start().await;
    node.add(log("a")).await;
    node.terminate().await;
    make_newer(&services, 2, 900).await;
    let output = node.setup.command(0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("0900_later") && said.contains("upgrade hearken"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_node_stops_writing_when_a_newer_schema_shuts_it_out() {
    let (services, _host) = Services::fresh().await;
    let node = Setup::cluster("one", &services).start().await;
    node.add(log("a")).await;
    make_newer(&services, 2, 900).await;
    wait::until("the health says why", async || {
        let check = node.call(Method::GET, "/healthcheck/checks/Database", None).await;
        let cause = check.body["cause"].as_str()?;
        cause.contains("a newer hearken migrated the database").then_some(())
    })
    .await;
    let refused = node.call(Method::DELETE, "/listeners/a", None).await;
    assert_eq!(refused.status, 503, "{}", refused.body);
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("step 900") && detail.contains("upgrade hearken"), "{detail}");
    assert_eq!(history(&node).await.len(), 1, "nothing was written, and the log can be read");
    // Events need no database, and their consumers go on.
    handle(&[&node], &node, "a", "e1", 1.0).await;
    let reported = node.log().matches("hearken::store::schema_fence").count();
    assert_eq!(reported, 1, "{}", node.log());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_migration_that_shuts_live_nodes_out_is_refused_without_a_yes() {
    let (services, _host) = Services::fresh().await;
    let _old = Setup::cluster("old", &services).start().await;
    make_older(&services, "old", "schema_step").await;
    let undone = "DROP TABLE dead_letter, dead_letter_usage CASCADE; \
        DROP FUNCTION dead_letter_is_counted; DELETE FROM hearken_migration WHERE version = 2";
    on_database(&services, undone).await;
    let (code, printed) = migrate(&services, &[]);
    assert_eq!(code, Some(1), "{printed}");
    assert!(printed.contains("old (hearken ") && printed.contains("--yes"), "{printed}");
    let (code, printed) = migrate(&services, &["--yes"]);
    assert_eq!((code, printed.as_str()), (Some(0), "applied 0002_dead_letters\n"));
}
