//! Secret values are planted in a running node, and everything is made to fail. Then each value is
//! looked for in all that the node emits: answers, headers, its log at debug level, and its tables.

use crate::support::{
    connections,
    node::{Node, Services, Setup, TOKEN},
    services::VirtualHost,
    wait,
};
use axum::{Router, http::HeaderMap, http::StatusCode};
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Row as _};

/// The planted values. None is a part of another, and none occurs by chance.
const HEADER: &str = "pl4ntedheader7f3a";
const SIGNATURE: &str = "whsec_pl4ntedsignature91c2";
const WEBHOOK_PATH: &str = "pl4ntedpath58d0";
const WEBHOOK_PASSWORD: &str = "pl4ntedwebhookpw44e1";
const LEVEL: &str = "pl4ntedlevel2b6c";
const FILE: &str = "pl4ntedfile83aa";
const DATABASE: &str = "pl4nteddatabase6e97";
const AMQP: &str = "pl4ntedamqp1d05";
const MANAGEMENT: &str = "pl4ntedmanagement0c4f";
const ADMIN: &str = "pl4ntedadmintoken5b21";
const READER: &str = "pl4ntedreadtoken77d8";
/// A token that a caller sends although no node has it.
const WRONG: &str = "pl4ntedwrongtoken3e6b";

const PLANTED: [&str; 12] = [
    HEADER,
    SIGNATURE,
    WEBHOOK_PATH,
    WEBHOOK_PASSWORD,
    LEVEL,
    FILE,
    DATABASE,
    AMQP,
    MANAGEMENT,
    ADMIN,
    READER,
    WRONG,
];

/// Texts that a node emitted, each with the place it was found in.
#[derive(Default)]
struct Emitted(Vec<(String, String)>);

impl Emitted {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// Fails when a planted value, or its form in hexadecimal as a `bytea` is shown, is in a text.
    fn check(&self) {
        let mut leaks = Vec::new();
        for (place, text) in &self.0 {
            for planted in PLANTED {
                let hex =
                    planted.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
                let found = text.find(planted).or_else(|| text.find(&hex));
                if let Some(at) = found {
                    let start = text.floor_char_boundary(at.saturating_sub(120));
                    let end = text.ceil_char_boundary((at + 120).min(text.len()));
                    leaks.push(format!("{planted} in {place}: …{}…", &text[start..end]));
                }
            }
        }
        assert!(leaks.is_empty(), "{} leaks:\n{}", leaks.len(), leaks.join("\n"));
    }

    /// Sends a request and notes the answer: its status line, headers and body.
    async fn ask(&mut self, node: &Node, method: Method, path: &str, body: Option<Value>) -> u16 {
        self.ask_with(node, method, path, body, Some(ADMIN)).await
    }

    async fn ask_with(
        &mut self,
        node: &Node,
        method: Method,
        path: &str,
        body: Option<Value>,
        token: Option<&str>,
    ) -> u16 {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut request = client.request(method.clone(), format!("{}{path}", node.url));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), format!("{:?}", answer.headers()));
        let text = answer.text().await.unwrap();
        self.add(format!("{method} {path} ({status})"), format!("{headers}\n{text}"));
        status
    }
}

/// A receiver that refuses every event, and repeats the request's headers in body and `Location`.
async fn echo() -> String {
    let answer = async |headers: HeaderMap| {
        let seen = headers.get("x-planted").and_then(|value| value.to_str().ok());
        let location = format!("http://elsewhere/{}", seen.unwrap_or_default());
        (StatusCode::FOUND, [("location", location)], format!("{headers:?}"))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().fallback(answer)).await });
    url
}

async fn on_database(url: &str, sql: &str) {
    let mut session = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut session).await.unwrap();
}

/// Users of the database and of the broker with planted passwords.
async fn planted_users(services: &Services, host: &VirtualHost) -> Services {
    let (_, name) = services.database.rsplit_once('/').unwrap();
    let sql = format!("CREATE ROLE r_{name} LOGIN SUPERUSER PASSWORD '{DATABASE}'");
    on_database(&services.database, &sql).await;
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    for (kind, password) in [("a", AMQP), ("m", MANAGEMENT)] {
        let user = format!("{kind}_{}", host.name);
        let body = json!({"password": password, "tags": "administrator"});
        host.api(Method::PUT, &format!("users/{user}"), Some(body)).await;
        let path = format!("permissions/{}/{user}", host.name);
        host.api(Method::PUT, &path, Some(all.clone())).await;
    }
    let with = |url: &str, user: &str| {
        let (scheme, rest) = url.split_once("://").unwrap();
        let address = rest.rsplit_once('@').map_or(rest, |(_, address)| address);
        format!("{scheme}://{user}@{address}")
    };
    Services {
        database: with(&services.database, &format!("r_{name}:{DATABASE}")),
        amqp: with(&services.amqp, &format!("a_{}:{AMQP}", host.name)),
        management: with(&services.management, &format!("m_{}:{MANAGEMENT}", host.name)),
    }
}

async fn planted_node(services: &Services) -> Node {
    let setup = Setup::cluster("one", services);
    std::fs::write(setup.directory.join("reader"), READER).unwrap();
    let reader = setup.directory.join("reader").display().to_string();
    let signature = setup.secrets().join("signature");
    std::fs::write(signature, SIGNATURE).unwrap();
    std::fs::write(setup.secrets().join("header"), format!("{FILE}\n")).unwrap();
    let webhook = format!("http://127.0.0.1:9/{WEBHOOK_PATH}?token={WEBHOOK_PATH}");
    let forbidden = format!("http://user:{WEBHOOK_PASSWORD}@127.0.0.1:9/{WEBHOOK_PATH}");
    let setup = Setup { admin_token: ADMIN.to_owned(), ..setup };
    let mut node = setup
        .with(&["--read-token-file", &reader, "--webhook-allow", "127.0.0.1"])
        .with_variable("HEARKEN_LOG", "debug")
        .with_variable("RUST_BACKTRACE", "1")
        .with_variable("HEARKEN_SECRET_HEADER", HEADER)
        .with_variable("HEARKEN_SECRET_URL", &webhook)
        .with_variable("HEARKEN_SECRET_FORBIDDEN", &forbidden)
        .with_variable("HEARKEN_SECRET_LEVEL", LEVEL)
        .launch();
    node.wait_ready().await;
    node
}

/// Listeners that use the planted values, each in a way that fails.
async fn add_failing(emitted: &mut Emitted, node: &Node) {
    let hook = echo().await;
    let env = |name: &str| json!({"env": format!("HEARKEN_SECRET_{name}")});
    let headers = json!({"x-planted": env("HEADER"), "authorization": {"file": "header"}});
    for (group, class, configuration) in [
        ("level", "log", json!({"level": env("LEVEL")})),
        ("echo", "webhook", json!({"url": hook, "headers": headers})),
        ("unreachable", "webhook", json!({"url": env("URL"), "headers": headers})),
        ("forbidden", "webhook", json!({"url": env("FORBIDDEN")})),
        ("unsigned", "webhook", json!({"url": hook, "secret": {"file": "signature"}})),
        ("missing", "webhook", json!({"url": env("NOT_SET"), "headers": headers})),
    ] {
        let listener = json!({"class": class, "group": group, "configuration": configuration,
            "retry": {"attempts": 1, "first": "100ms"}});
        let path = "/listeners?wait=30s";
        let status = emitted.ask(node, Method::POST, path, Some(listener)).await;
        assert_eq!(status, 201, "{group}: {:?}", emitted.0.last());
    }
    // Wrong requests about them.
    for (body, status) in [
        (json!({"class": "webhook", "group": "echo", "configuration": {"url": hook}}), 409),
        (
            json!({"class": "webhook", "group": "x", "configuration": {"url": {"env": "HEARKEN_AMQP_URL"}}}),
            422,
        ),
        (
            json!({"class": "webhook", "group": "x", "configuration": {"url": {"file": "../token"}}}),
            422,
        ),
        (json!({"class": "none", "group": "x", "configuration": {"url": env("URL")}}), 422),
    ] {
        let found = emitted.ask(node, Method::POST, "/listeners", Some(body.clone())).await;
        assert!(found == status || (400..500).contains(&found), "{body}: {found}");
    }
}

/// Waits until a group has a dead letter; reads it in every form.
async fn dead_letter(emitted: &mut Emitted, node: &Node, group: &str) {
    let page = wait::until(&format!("a dead letter of {group}"), async || {
        let page = node.get(&format!("/events/deadLetter?group={group}")).await;
        page["deadLetters"].as_array()?.first().cloned()
    })
    .await;
    let id = page["insertionId"].as_str().unwrap();
    for path in [
        format!("/events/deadLetter?group={group}"),
        format!("/events/deadLetter/{id}"),
        format!("/events/deadLetter/groups/{group}/{id}"),
        format!("/events/deadLetter/groups/{group}/{id}/details"),
    ] {
        assert_eq!(emitted.ask(node, Method::GET, &path, None).await, 200, "{path}");
    }
}

/// Every page of the node, with each token, without one and with a wrong one.
async fn read_all(emitted: &mut Emitted, node: &Node) {
    let checks = node.call(Method::GET, "/healthcheck", None).await.body;
    let components = checks["checks"].as_array().into_iter().flatten();
    let checks = components.filter_map(|check| check["componentName"].as_str());
    let mut paths: Vec<String> =
        checks.map(|name| format!("/healthcheck/checks/{}", name.replace(' ', "%20"))).collect();
    assert!(!paths.is_empty(), "the health names its components");
    for path in [
        "/livez",
        "/readyz",
        "/readyz?strict",
        "/metrics",
        "/healthcheck",
        "/healthcheck/checks",
        "/nodes",
        "/classes",
        "/listeners",
        "/listeners/level",
        "/listeners/echo",
        "/listeners/unsigned",
        "/listeners/history",
        "/listeners/diff?from=0&to=3",
        "/topology",
        "/topology/passes",
        "/tasks",
        "/events/deadLetter",
        "/events/deadLetter/groups",
        "/openapi.yaml",
        "/nowhere",
        "/listeners/none",
        "/tasks/none",
    ] {
        paths.push(path.to_owned());
    }
    for path in &paths {
        for token in [Some(ADMIN), Some(READER), Some(WRONG), None] {
            emitted.ask_with(node, Method::GET, path, None, token).await;
        }
    }
    // A token at a wrong place.
    emitted.ask_with(node, Method::POST, "/topology?action=reconcile", None, Some(WRONG)).await;
    emitted.ask_with(node, Method::DELETE, "/listeners/echo", None, Some(READER)).await;
}

/// Takes the broker and the database away from the node: their passwords change, and their
/// connections are closed.
async fn take_away(node: &Node, services: &Services, host: &VirtualHost, emitted: &mut Emitted) {
    for kind in ["a", "m"] {
        let user = format!("users/{kind}_{}", host.name);
        let body = json!({"password": "changed", "tags": "administrator"});
        host.api(Method::PUT, &user, Some(body)).await;
    }
    connections::close_all(host).await;
    assert_eq!(emitted.ask(node, Method::POST, "/topology?action=reconcile", None).await, 201);
    wait::until("the broker refuses the node", async || {
        let topology = node.call(Method::GET, "/topology", None).await.body.to_string();
        topology.contains("--amqp-url").then_some(())
    })
    .await;
    read_all(emitted, node).await;
    let (_, name) = services.database.rsplit_once('/').unwrap();
    let role = format!("r_{name}");
    let sql = format!(
        "ALTER ROLE {role} NOLOGIN; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{role}'"
    );
    on_database(&services.database, &sql).await;
    wait::until("the database refuses the node", async || {
        let listeners = node.call(Method::GET, "/listeners/history", None).await;
        (listeners.status == 503).then_some(())
    })
    .await;
    emitted.ask(node, Method::GET, "/nodes", None).await;
    emitted.ask(node, Method::GET, "/healthcheck", None).await;
    let listener = json!({"class": "log", "group": "late"});
    assert!(emitted.ask(node, Method::POST, "/listeners", Some(listener)).await >= 500);
}

/// The rows of every table, as texts.
async fn rows(emitted: &mut Emitted, url: &str) {
    let mut session = PgConnection::connect(url).await.unwrap();
    let tables = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()";
    let tables = sqlx::query(tables).fetch_all(&mut session).await.unwrap();
    let mut filled = 0;
    for table in &tables {
        let table: String = table.get("tablename");
        let sql = AssertSqlSafe(format!("SELECT t::text AS row FROM {table} t"));
        let found = sqlx::query(sql).fetch_all(&mut session).await.unwrap();
        filled += usize::from(!found.is_empty());
        for row in found {
            emitted.add(format!("table {table}"), row.get::<String, _>("row"));
        }
    }
    assert!(filled > 5, "the tables have rows");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_planted_value_is_in_any_answer_header_log_line_or_table() {
    let (services, host) = Services::fresh().await;
    let planted = planted_users(&services, &host).await;
    let node = planted_node(&planted).await;
    let mut emitted = Emitted::default();
    add_failing(&mut emitted, &node).await;
    for group in ["level", "forbidden", "unsigned", "missing"] {
        node.wait_listener(group, "failed").await;
    }
    let event = json!({"MailboxAdded": {"eventId": "e", "user": "bob"}});
    let path = "/events/mailboxEvent";
    assert_eq!(emitted.ask(&node, Method::POST, path, Some(event)).await, 202);
    emitted.ask(&node, Method::POST, path, Some(json!(["not an event"]))).await;
    dead_letter(&mut emitted, &node, "echo").await;
    dead_letter(&mut emitted, &node, "unreachable").await;
    read_all(&mut emitted, &node).await;
    take_away(&node, &services, &host, &mut emitted).await;
    rows(&mut emitted, &services.database).await;
    let log = node.log();
    assert!(log.contains("DEBUG"), "the log is at debug level");
    emitted.add("the log", log);
    // The test finds what is there to find.
    let texts: String = emitted.0.iter().map(|(_, text)| text.as_str()).collect();
    assert!(texts.contains("HEARKEN_SECRET_LEVEL") && texts.contains("***"), "causes are shown");
    assert!(!texts.contains(TOKEN), "this node has a token of its own");
    emitted.check();
}
