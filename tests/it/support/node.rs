//! A `hearken serve` process, as an operator would start it.

use super::{services, wait};
use futures_util::future::ready;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use std::{cell::RefCell, path::PathBuf, process::Command, time::Duration};
use xtask::services::{Process, free_port, guarded};

/// The token that test nodes are given.
pub(crate) const TOKEN: &str = "test-token-0123456789abcdef";

/// How a node is started.
#[derive(Clone)]
pub(crate) struct Setup {
    pub(crate) id: String,
    /// The program: hearken itself, or one that uses it as a library.
    pub(crate) program: PathBuf,
    /// PostgreSQL and RabbitMQ, or neither for the embedded default.
    pub(crate) cluster: Option<Services>,
    pub(crate) directory: PathBuf,
    pub(crate) flags: Vec<String>,
    /// The configuration file's content.
    pub(crate) file: String,
    /// Environment variables, by name.
    pub(crate) environment: Vec<(String, String)>,
    /// The administrator's token.
    pub(crate) admin_token: String,
}

/// The addresses that the nodes of one cluster share.
#[derive(Clone)]
pub(crate) struct Services {
    pub(crate) database: String,
    pub(crate) amqp: String,
    pub(crate) management: String,
}

impl Services {
    /// A database and a virtual host of their own on the shared services.
    pub(crate) async fn fresh() -> (Self, services::VirtualHost) {
        let (database, host) = (services::database().await, services::virtual_host().await);
        let (amqp, management) = (host.amqp.clone(), host.management.clone());
        (Self { database, amqp, management }, host)
    }
}

/// A running node.
pub(crate) struct Node {
    pub(crate) setup: Setup,
    pub(crate) url: String,
    pub(crate) process: Process,
    client: reqwest::Client,
}

/// The answer of a node.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: reqwest::header::HeaderMap,
    pub(crate) body: Value,
}

impl Setup {
    /// The log of the node.
    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.join("log")).unwrap_or_default()
    }

    /// A node of a cluster, in a directory of its own.
    pub(crate) fn cluster(id: &str, services: &Services) -> Self {
        Self { cluster: Some(services.clone()), ..Self::embedded(id) }
    }

    /// A node on the embedded default.
    pub(crate) fn embedded(id: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory").keep();
        let flags = vec!["--reconcile-interval".into(), "2s".into()];
        let program = PathBuf::from(env!("CARGO_BIN_EXE_hearken"));
        let (file, environment, admin_token) = (String::new(), Vec::new(), TOKEN.to_owned());
        let (id, cluster) = (id.into(), None);
        Self { id, program, cluster, directory, flags, file, environment, admin_token }
    }

    /// The directory of secrets, which the node reads when it makes a listener.
    pub(crate) fn secrets(&self) -> PathBuf {
        let directory = self.directory.join("secrets");
        std::fs::create_dir_all(&directory).expect("the directory can be written");
        directory
    }

    /// The set-up with an example program, which is built beside the program under test.
    pub(crate) fn running(mut self, example: &str) -> Self {
        self.program = self.program.with_file_name("examples").join(example);
        let program = self.program.display();
        assert!(self.program.exists(), "{program} is not built: cargo build --examples");
        self
    }

    /// The set-up with an environment variable.
    pub(crate) fn with_variable(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The set-up with more flags.
    pub(crate) fn with(mut self, flags: &[&str]) -> Self {
        self.flags.extend(flags.iter().map(ToString::to_string));
        self
    }

    /// The set-up with a configuration file.
    pub(crate) fn with_file(mut self, file: &str) -> Self {
        file.clone_into(&mut self.file);
        self
    }

    /// The command line, listening on a port.
    pub(crate) fn command(&self, port: u16) -> Command {
        let token = self.directory.join("token");
        std::fs::write(&token, &self.admin_token).expect("the directory can be written");
        let file = self.directory.join("test.toml");
        std::fs::write(&file, &self.file).expect("the directory can be written");
        // So that it ends with us also when we are killed.
        let mut command = guarded("KILL");
        command.arg("--").arg(&self.program).current_dir(&self.directory).arg("serve");
        command.args(["--listen", &format!("127.0.0.1:{port}"), "--node-id", &self.id]);
        command.arg("--config").arg(file).arg("--admin-token-file").arg(token);
        command.arg("--data-dir").arg(self.directory.join("data"));
        command.arg("--secrets-dir").arg(self.secrets());
        if let Some(services) = &self.cluster {
            command.args(["--database-url", &services.database, "--amqp-url", &services.amqp]);
            command.args(["--management-url", &services.management]);
        }
        command.args(&self.flags);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts the process, without waiting for it.
    pub(crate) fn launch(self) -> Node {
        hearken::tls::init();
        let port = free_port().expect("a free port");
        let log = self.directory.join("log");
        let process =
            Process::spawn(&self.id, self.command(port), &log).expect("the program starts");
        let client = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(70)).build();
        let client = client.expect("a client can be built");
        Node { setup: self, url: format!("http://127.0.0.1:{port}"), process, client }
    }

    /// Starts the process and waits until it is ready.
    pub(crate) async fn start(self) -> Node {
        let mut node = self.launch();
        node.wait_ready().await;
        node
    }
}

impl Node {
    /// Waits until the node takes requests.
    pub(crate) async fn wait_ready(&mut self) {
        self.wait_status("/readyz", 200).await;
    }

    /// Waits until a path answers with a status. Fails at once when the process has ended.
    pub(crate) async fn wait_status(&mut self, path: &str, status: u16) {
        let (url, setup) = (format!("{}{path}", self.url), &self.setup);
        let what = || format!("{path} answers {status}; the log:\n{}", setup.log());
        let ask = || {
            assert!(self.process.exited().is_none(), "the node ended; {}", what());
            let answering = self.client.get(&url).bearer_auth(&setup.admin_token).send();
            async {
                let answer = answering.await;
                answer.is_ok_and(|answer| answer.status().as_u16() == status).then_some(())
            }
        };
        wait::explained(Duration::from_mins(1), ask, what).await;
    }

    /// The log of the node.
    pub(crate) fn log(&self) -> String {
        self.setup.log()
    }

    /// Ends the process as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    /// Ends the process as an operator would, and waits.
    pub(crate) async fn terminate(&mut self) {
        self.process.signal("TERM").expect("the process can be signalled");
        let setup = &self.setup;
        let what = || format!("the node ends; its log:\n{}", setup.log());
        let ended = || ready(self.process.exited());
        wait::explained(Duration::from_secs(40), ended, what).await;
    }

    /// Sends a request with the admin token.
    pub(crate) async fn call(&self, method: Method, path: &str, body: Option<Value>) -> Answer {
        self.try_call(method, path, body).await.expect("the node answers")
    }

    /// Sends a request, where the node may be gone.
    pub(crate) async fn try_call(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> reqwest::Result<Answer> {
        let mut request = self.client.request(method, format!("{}{path}", self.url));
        request = request.bearer_auth(&self.setup.admin_token);
        if let Some(body) = body {
            request = request.json(&body);
        }
        let answer = request.send().await?;
        let (status, headers) = (answer.status(), answer.headers().clone());
        let text = answer.text().await?;
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Ok(Answer { status, headers, body })
    }

    /// Reads a path; fails unless it answers 200.
    pub(crate) async fn get(&self, path: &str) -> Value {
        let answer = self.call(Method::GET, path, None).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer.body
    }

    /// Adds a listener and waits until the broker follows.
    pub(crate) async fn add(&self, listener: Value) -> Value {
        let answer = self.call(Method::POST, "/listeners?wait=30s", Some(listener)).await;
        assert_eq!(answer.status, 201, "{}\n{}", answer.body, self.log());
        assert_eq!(answer.body["topology"], "converged", "{}\n{}", answer.body, self.log());
        answer.body
    }

    /// Removes a listener and waits until the broker follows.
    pub(crate) async fn remove(&self, group: &str, pending: &str) {
        let path = format!("/listeners/{group}?pending={pending}&wait=30s");
        let answer = self.call(Method::DELETE, &path, None).await;
        assert_eq!(answer.status, 204, "{}", answer.body);
    }

    /// The topology's state, as this node tells it.
    pub(crate) async fn topology_state(&self) -> String {
        let answer = self.call(Method::GET, "/topology", None).await;
        topology_status(&answer.body)["state"].as_str().unwrap_or_default().to_owned()
    }

    /// Waits until the topology has a state.
    pub(crate) async fn wait_topology(&self, state: &str) {
        wait::until(&format!("the topology is {state}"), async || {
            (self.topology_state().await == state).then_some(())
        })
        .await;
    }

    /// Waits until a listener has a state on this node.
    pub(crate) async fn wait_listener(&self, group: &str, state: &str) {
        let found = RefCell::new(None);
        let ask = async || {
            let nodes = self.get("/nodes").await;
            let mut nodes = nodes["nodes"].as_array().into_iter().flatten();
            let node = nodes.find(|node| node["id"] == self.setup.id.as_str());
            let listeners = node.and_then(|node| node["listeners"].as_array());
            let mut listeners = listeners.into_iter().flatten();
            let listener = listeners.find(|listener| listener["group"] == group).cloned();
            let reached = listener.as_ref().is_some_and(|listener| listener["state"] == state);
            found.replace(listener);
            reached.then_some(())
        };
        let what = || format!("{group} is {state} on {}, but {:?}", self.setup.id, found.borrow());
        wait::explained(Duration::from_secs(40), ask, what).await;
    }

    /// Sends an event as James would write it.
    pub(crate) async fn send(&self, bus: &str, id: &str) -> Answer {
        let event = json!({"MailboxAdded": {"eventId": id, "user": "bob"}});
        self.call(Method::POST, &format!("/events/{bus}"), Some(event)).await
    }
}

/// The status in an answer of `/topology`, also in the problem that says that the broker is away.
pub(crate) fn topology_status(body: &Value) -> &Value {
    body.get("topologyStatus").unwrap_or(&body["status"])
}
