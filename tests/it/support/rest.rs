//! A client that holds every answer against the contract.

use super::{
    contract,
    node::{Node, Setup, TOKEN},
};
use reqwest::{Method, header::HeaderMap};
use serde_json::Value;
use std::path::Path;

/// The token that only reads.
pub(crate) const READ_TOKEN: &str = "read-token-0123456789abcdef";

/// A node on the embedded default, with a read-only token too.
pub(crate) async fn node() -> Rest {
    Rest::new(setup().start().await)
}

/// The set-up of [`node`].
pub(crate) fn setup() -> Setup {
    let setup = Setup::embedded("solo");
    let file = setup.directory.join("read-token");
    write(&file);
    let file = file.to_str().expect("the path is text").to_owned();
    setup.with(&["--read-token-file", &file])
}

fn write(file: &Path) {
    std::fs::write(file, READ_TOKEN).expect("the directory can be written");
}

/// A node and a client of it.
pub(crate) struct Rest {
    pub(crate) node: Node,
    pub(crate) client: reqwest::Client,
}

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct RestAnswer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    /// The text as JSON, or null.
    pub(crate) body: Value,
}

impl RestAnswer {
    /// The last part of the problem's type.
    pub(crate) fn problem(&self) -> &str {
        let uri = self.body["type"].as_str().unwrap_or_default();
        uri.strip_prefix("/problems/").unwrap_or_default()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// A request that is being put together.
pub(crate) struct RestRequest<'a> {
    rest: &'a Rest,
    method: Method,
    path: String,
    token: Option<String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Rest {
    pub(crate) fn new(node: Node) -> Self {
        let client = reqwest::Client::builder().no_proxy().build().expect("a client can be built");
        Self { node, client }
    }

    /// A request with the administrator's token.
    pub(crate) fn ask(&self, method: &str, path: &str) -> RestRequest<'_> {
        let method = Method::from_bytes(method.as_bytes()).expect("a method");
        let (path, token) = (path.to_owned(), Some(TOKEN.to_owned()));
        RestRequest { rest: self, method, path, token, headers: Vec::new(), body: Vec::new() }
    }

    /// Reads a path; fails unless it answers 200.
    pub(crate) async fn get(&self, path: &str) -> RestAnswer {
        let answer = self.ask("GET", path).send().await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        answer
    }

    /// Adds a listener; fails unless it is added.
    pub(crate) async fn add(&self, listener: Value) -> RestAnswer {
        let answer = self.ask("POST", "/listeners?wait=30s").json(&listener).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        answer
    }

    /// Starts a task and waits for its end; fails unless it is started.
    pub(crate) async fn task(&self, method: &str, path: &str) -> Value {
        let answer = self.ask(method, path).send().await;
        assert_eq!(answer.status, 201, "{}", answer.text);
        self.get(&format!("{}/await?timeout=60s", answer.header("location"))).await.body
    }
}

impl RestRequest<'_> {
    pub(crate) fn token(mut self, token: Option<&str>) -> Self {
        self.token = token.map(str::to_owned);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// Sends the request, and holds the answer against the contract.
    pub(crate) async fn send(self) -> RestAnswer {
        let url = format!("{}{}", self.rest.node.url, self.path);
        let mut request = self.rest.client.request(self.method.clone(), url).body(self.body);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        let answer = request.send().await.expect("the node answers");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let text = answer.text().await.expect("the answer is whole");
        let body = serde_json::from_str(&text).unwrap_or_default();
        let answer = RestAnswer { status, headers, text, body };
        assert!(!answer.header("x-request-id").is_empty(), "{} has no request id", self.path);
        if self.method != Method::HEAD {
            let content_type = answer.header("content-type");
            contract::check(self.method.as_str(), &self.path, status, content_type, &answer.text);
        }
        answer
    }
}
