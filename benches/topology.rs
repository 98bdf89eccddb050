//! What the reconciler costs, as ratios against raw drivers on the same broker in the same run.
//!
//! `cargo xtask bench topology` starts the services and prints the table. Absolute times depend on
//! the machine and say little; each ratio compares two things measured in turn.
#![expect(clippy::disallowed_methods, reason = "a benchmark measures real time")]

use axum::{Router, http::StatusCode, routing::post};
use futures_util::StreamExt;
use lapin::{
    BasicProperties, Connection, ConnectionProperties, ExchangeKind,
    options::{
        BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions,
        ConfirmSelectOptions, ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions,
        QueueDeleteOptions,
    },
    types::{AMQPValue, FieldTable},
};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use sqlx::Connection as _;
use std::{
    process::Command,
    time::{Duration, Instant},
};
use tokio::sync::watch;
use uuid::Uuid;
use xtask::services::{Process, free_port};

const TOKEN: &str = "bench-token-0123456789abcdef";
const ROUNDS: usize = 15;
const MANY: usize = 1_000;

#[tokio::main]
async fn main() {
    hearken::tls::init();
    let bench = Bench::start().await;
    println!("{:<58} {:>10} {:>10} {:>7}", "", "hearken", "raw", "ratio");
    bench.add_to_consumed("add to consumed, no other listener").await;
    bench.grow(0, 10).await;
    bench.add_to_consumed("add to consumed, 10 listeners present").await;
    bench.pass_without_drift("pass without drift, 10 listeners").await;
    bench.grow(10, MANY).await;
    bench.add_to_consumed("add to consumed, 1,000 listeners present").await;
    bench.pass_without_drift("pass without drift, 1,000 listeners").await;
    bench.rebuild_from_empty().await;
}

/// A node, and the same broker by hand.
struct Bench {
    client: Client,
    url: String,
    management: String,
    vhost: String,
    amqp: String,
    connection: Connection,
    _node: Process,
    _directory: tempfile::TempDir,
}

fn address(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: cargo xtask bench topology"))
}

fn report(what: &str, ours: Duration, raw: Duration) {
    let ratio = ours.as_secs_f64() / raw.as_secs_f64();
    println!("{what:<58} {ours:>10.2?} {raw:>10.2?} {ratio:>7.2}");
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

impl Bench {
    async fn start() -> Self {
        let (postgres, broker) = (address("TEST_HEARKEN_POSTGRES"), address("TEST_HEARKEN_AMQP"));
        let management = address("TEST_HEARKEN_MANAGEMENT");
        let name = format!("bench_{}", Uuid::new_v4().simple());
        let mut admin = sqlx::PgConnection::connect(&postgres).await.expect("PostgreSQL answers");
        let create = sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::query(create).execute(&mut admin).await.expect("a database can be made");
        let database = format!("{}/{name}", postgres.rsplit_once('/').expect("a URL").0);
        let amqp = format!("{}/{name}", broker.rsplit_once('/').expect("a URL").0);
        let client = Client::builder().no_proxy().build().expect("a client");
        let directory = tempfile::tempdir().expect("a directory");
        make_vhost(&client, &management, &name).await;

        let port = free_port().expect("a port");
        let token = directory.path().join("token");
        std::fs::write(&token, TOKEN).expect("a file");
        let mut command = Command::new(env!("CARGO_BIN_EXE_hearken"));
        command.current_dir(&directory).arg("serve");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--node-id", "bench"]);
        command.args(["--database-url", &database, "--amqp-url", &amqp]);
        command.args(["--management-url", &management, "--reconcile-interval", "1s"]);
        command.arg("--admin-token-file").arg(&token);
        let log = directory.path().join("log");
        let node = Process::spawn("bench", command, &log).expect("the program starts");
        let connection = Connection::connect(&amqp, ConnectionProperties::default()).await;
        let bench = Self {
            client,
            url: format!("http://127.0.0.1:{port}"),
            management,
            vhost: name,
            amqp,
            connection: connection.expect("the broker answers"),
            _node: node,
            _directory: directory,
        };
        bench.until("ready", async || bench.get("/readyz").await.is_some().then_some(())).await;
        bench
    }

    async fn until<T>(&self, what: &str, ask: impl AsyncFn() -> Option<T>) -> T {
        let deadline = Instant::now() + Duration::from_mins(2);
        loop {
            if let Some(answer) = ask().await {
                return answer;
            }
            assert!(Instant::now() < deadline, "never {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Option<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        request = request.bearer_auth(TOKEN);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await.ok().filter(|answer| answer.status().is_success())?;
        let text = answer.text().await.ok()?;
        Some(serde_json::from_str(&text).unwrap_or(Value::String(text)))
    }

    async fn get(&self, path: &str) -> Option<Value> {
        self.call(Method::GET, path, None).await
    }

    async fn add(&self, group: &str, query: &str) {
        let listener = json!({"class": "log", "group": group});
        let path = format!("/listeners{query}");
        self.call(Method::POST, &path, Some(listener)).await.expect("the listener is accepted");
    }

    async fn converged(&self) {
        self.until("converged", async || {
            let status = self.get("/topology").await?;
            let status = &status["status"];
            let follows = status["reconciledVersion"] == status["rosterVersion"];
            (status["state"] == "converged" && follows).then_some(())
        })
        .await;
    }

    /// Adds listeners up to a number, many at a time.
    async fn grow(&self, from: usize, to: usize) {
        for chunk in (from..to).collect::<Vec<_>>().chunks(20) {
            let groups = chunk.iter().map(|number| format!("present-{number}"));
            let adds = groups.map(|group| async move { self.add(&group, "").await });
            futures_util::future::join_all(adds).await;
        }
        self.converged().await;
    }

    /// From the request until the new listener has handled its first event, against declare, bind,
    /// consume and the first delivery on an open channel.
    async fn add_to_consumed(&self, what: &str) {
        let (mut ours, mut raw) = (Vec::new(), Vec::new());
        let mut receiver = Receiver::start().await;
        for _ in 0..ROUNDS {
            let group = format!("x{}", Uuid::new_v4().simple());
            let queue = format!("hearken.mailboxEvent.work.{group}.v1");
            receiver.count.mark_unchanged();
            let began = Instant::now();
            let configuration = json!({"url": receiver.url});
            let listener =
                json!({"class": "webhook", "group": group, "configuration": configuration});
            self.call(Method::POST, "/listeners", Some(listener)).await.expect("accepted");
            publish_when_there(&self.connection, &queue).await;
            receiver.count.changed().await.expect("the receiver lives");
            ours.push(began.elapsed());
            raw.push(self.raw_add().await);
            let path = format!("/listeners/{group}?pending=discard&wait=30s");
            self.call(Method::DELETE, &path, None).await.expect("the listener is removed");
        }
        report(what, median(ours), median(raw));
    }

    async fn raw_add(&self) -> Duration {
        let channel = self.connection.create_channel().await.expect("a channel");
        let exchange = ExchangeDeclareOptions { durable: true, ..Default::default() };
        let args = FieldTable::default();
        let kind = ExchangeKind::Direct;
        let declared = channel.exchange_declare("raw".into(), kind, exchange, args.clone()).await;
        declared.expect("declared");
        let queue = format!("raw.{}", Uuid::new_v4().simple());
        let began = Instant::now();
        let durable = QueueDeclareOptions { durable: true, ..Default::default() };
        let mut quorum = FieldTable::default();
        quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
        let name: lapin::types::ShortString = queue.clone().into();
        channel.queue_declare(name.clone(), durable, quorum).await.expect("declared");
        let bind = QueueBindOptions::default();
        let bound = channel.queue_bind(name.clone(), "raw".into(), "".into(), bind, args.clone());
        bound.await.expect("bound");
        let consume = BasicConsumeOptions::default();
        let consumer = channel.basic_consume(name.clone(), "raw".into(), consume, args).await;
        publish_when_there(&self.connection, &queue).await;
        let mut consumer = consumer.expect("consumed");
        let first = consumer.next().await.expect("a delivery");
        first.expect("a delivery").ack(BasicAckOptions::default()).await.expect("acknowledged");
        let took = began.elapsed();
        let cancel = BasicCancelOptions::default();
        channel.basic_cancel(consumer.tag(), cancel).await.expect("cancelled");
        channel.queue_delete(name, QueueDeleteOptions::default()).await.expect("deleted");
        took
    }

    /// The mean pass of the node over a while, against the two reads that any comparison needs.
    async fn pass_without_drift(&self, what: &str) {
        self.converged().await;
        let before = self.passes().await;
        let mut raw = Vec::new();
        let after = loop {
            raw.push(self.raw_reads().await);
            let now = self.passes().await;
            if now.1 >= before.1 + 12.0 {
                break now;
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        };
        let mean = (after.0 - before.0) / (after.1 - before.1);
        report(what, Duration::from_secs_f64(mean), median(raw));
    }

    /// Seconds spent in passes, and how many there were.
    async fn passes(&self) -> (f64, f64) {
        let text = self.get("/metrics").await.expect("metrics");
        let text = text.as_str().expect("text").to_owned();
        let read = |name: &str| {
            let line = text.lines().find(|line| line.starts_with(name)).expect("the series exists");
            line.rsplit(' ').next().and_then(|number| number.parse().ok()).expect("a number")
        };
        (read("hearken_pass_duration_seconds_sum"), read("hearken_pass_duration_seconds_count"))
    }

    async fn raw_reads(&self) -> Duration {
        let began = Instant::now();
        let (management, vhost) = (&self.management, &self.vhost);
        for path in [format!("queues/{vhost}?disable_stats=true"), format!("bindings/{vhost}")] {
            let answer = self.client.get(format!("{management}/api/{path}")).send().await;
            let body: Value = answer.expect("an answer").json().await.expect("JSON");
            assert!(body.is_array());
        }
        began.elapsed()
    }

    /// A thousand listeners on a wiped virtual host, against the broker's own import.
    async fn rebuild_from_empty(&self) {
        let path = format!("{}/api/definitions/{}", self.management, self.vhost);
        let definitions: Value =
            self.client.get(&path).send().await.expect("an answer").json().await.expect("JSON");
        self.wipe().await;
        let began = Instant::now();
        let imported = self.client.post(&path).json(&definitions).send().await.expect("an answer");
        let raw = began.elapsed();
        assert!(imported.status().is_success(), "{}", imported.status());

        self.wipe().await;
        let began = Instant::now();
        let task = self.call(Method::POST, "/topology?action=rebuild", None).await.expect("a task");
        let id = task["taskId"].as_str().expect("an id").to_owned();
        let done = self.get(&format!("/tasks/{id}/await?timeout=300s")).await.expect("a report");
        let ours = began.elapsed();
        assert_eq!(done["status"], "completed", "{done}");
        report("1,000 listeners from an empty broker (raw: import)", ours, raw);
    }

    async fn wipe(&self) {
        let path = format!("{}/api/vhosts/{}", self.management, self.vhost);
        self.client.delete(&path).send().await.expect("an answer");
        make_vhost(&self.client, &self.management, &self.vhost).await;
        // The broker lets its old connections go before it is asked again.
        self.until("reachable", async || {
            Connection::connect(&self.amqp, ConnectionProperties::default()).await.ok()
        })
        .await;
    }
}

async fn make_vhost(client: &Client, management: &str, name: &str) {
    let all = json!({"configure": ".*", "write": ".*", "read": ".*"});
    for (path, body) in
        [(format!("vhosts/{name}"), json!({})), (format!("permissions/{name}/guest"), all)]
    {
        let answer = client.put(format!("{management}/api/{path}")).json(&body).send().await;
        assert!(answer.expect("an answer").status().is_success());
    }
}

/// A webhook receiver that counts.
struct Receiver {
    url: String,
    count: watch::Receiver<u64>,
}

impl Receiver {
    async fn start() -> Self {
        let (sender, count) = watch::channel(0);
        let receive = post(async move || {
            sender.send_modify(|count| *count += 1);
            StatusCode::NO_CONTENT
        });
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}/", listener.local_addr().expect("an address"));
        tokio::spawn(async move { axum::serve(listener, Router::new().route("/", receive)).await });
        Self { url, count }
    }
}

/// Publishes to a queue until the queue exists and takes the event. Other queues do not get it.
async fn publish_when_there(connection: &Connection, queue: &str) {
    let channel = connection.create_channel().await.expect("a channel");
    channel.confirm_select(ConfirmSelectOptions::default()).await.expect("confirms");
    let body = json!({"Benched": {"eventId": Uuid::new_v4(), "user": "bench"}}).to_string();
    let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
    let properties = BasicProperties::default().with_delivery_mode(2);
    loop {
        let (exchange, properties) = ("".into(), properties.clone());
        let sent =
            channel.basic_publish(exchange, queue.into(), options, body.as_bytes(), properties);
        let confirm = sent.await.expect("published").await.expect("confirmed");
        if confirm.is_ack() && confirm.take_message().is_none() {
            break;
        }
    }
    channel.close(200, "done".into()).await.expect("closed");
}
