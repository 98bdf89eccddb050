//! Client of the REST interface of a running node.

mod remote;

pub(super) use remote::Remote;

use super::{
    error::CliError,
    output::{Format, print},
    problem::ServerProblem,
};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use std::{error::Error, time::Duration};
use url::Url;

/// Limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(5);
/// Limit for an answer of a request that does not ask the server to wait.
const ANSWER: Duration = Duration::from_secs(30);

/// Server with the token and the form of output of the command.
#[derive(Debug)]
pub(super) struct Server {
    client: reqwest::Client,
    base: Url,
    token: Option<header::HeaderValue>,
    format: Format,
}

/// Complete answer of the server.
#[derive(Debug)]
pub(super) struct Answer {
    /// Status of the answer.
    pub(super) status: StatusCode,
    /// Body of the answer.
    pub(super) text: String,
    /// Headers of the answer.
    pub(super) headers: header::HeaderMap,
}

/// Request that is built up and then sent.
#[must_use]
pub(super) struct Call<'a> {
    server: &'a Server,
    method: Method,
    url: Url,
    headers: header::HeaderMap,
    body: Vec<u8>,
    patience: Duration,
}

impl Server {
    /// Tells whether the command prints the server's JSON.
    #[must_use]
    pub(super) fn prints_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Address of the server, as it was given.
    #[must_use]
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// Request for a path, which is given in segments.
    pub(super) fn call(&self, method: Method, path: &[&str]) -> Call<'_> {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("http URLs have paths").pop_if_empty().extend(path);
        let headers = header::HeaderMap::new();
        Call { server: self, method, url, headers, body: Vec::new(), patience: Duration::ZERO }
    }

    /// Request that changes nothing.
    pub(super) fn get(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::GET, path)
    }

    /// Prints an answer: unchanged, or rendered for people.
    ///
    /// # Errors
    /// When the answer is not JSON, or cannot be printed.
    pub(super) fn show(
        &self,
        answer: &Answer,
        render: impl FnOnce(&Value) -> String,
    ) -> Result<(), CliError> {
        if self.prints_json() { print(&answer.text) } else { print(&render(&answer.json()?)) }
    }
}

impl Answer {
    /// Body as JSON.
    ///
    /// # Errors
    /// When the body is not JSON.
    pub(super) fn json(&self) -> Result<Value, CliError> {
        serde_json::from_str(&self.text).map_err(|error| {
            CliError::Failed(format!(
                "the answer is not JSON ({error}); check that hearken runs at --url"
            ))
        })
    }
}

impl Call<'_> {
    /// Adds a query parameter.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// Adds a query parameter, if it has a value.
    pub(super) fn maybe(self, name: &str, value: Option<&impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, &value.to_string()),
            None => self,
        }
    }

    /// Adds a header.
    ///
    /// # Errors
    /// When the value cannot be a header.
    pub(super) fn header(
        mut self,
        name: header::HeaderName,
        value: &str,
    ) -> Result<Self, CliError> {
        let value = header::HeaderValue::from_str(value).map_err(|_| {
            CliError::Usage(format!("{name} cannot be {value:?}; use visible ASCII characters"))
        })?;
        self.headers.insert(name, value);
        Ok(self)
    }

    /// Sets the body.
    ///
    /// # Errors
    /// When the content type cannot be a header.
    pub(super) fn body(mut self, content_type: &str, body: Vec<u8>) -> Result<Self, CliError> {
        self.body = body;
        self.header(header::CONTENT_TYPE, content_type)
    }

    /// Gives the server more time to answer, because the request asks it to wait.
    pub(super) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends the request and reads the complete answer.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] when no complete answer comes, [`CliError::Answered`] when the
    /// answer is not a success.
    pub(super) async fn send(self) -> Result<Answer, CliError> {
        self.send_accepting(|_| false).await
    }

    /// Sends the request like [`Call::send`], and also accepts plain JSON with another status.
    ///
    /// # Errors
    /// As [`Call::send`].
    pub(super) async fn send_accepting(
        self,
        accepts: impl Fn(StatusCode) -> bool,
    ) -> Result<Answer, CliError> {
        let failed = Failing { base: self.server.base.clone(), safe: self.method == Method::GET };
        let limit = ANSWER + self.patience;
        let request = self.request();
        let response =
            request.timeout(limit).send().await.map_err(|error| failed.because(&error))?;
        let (status, content_type) = (response.status(), content_type(&response));
        let headers = response.headers().clone();
        let text = response.text().await.map_err(|error| failed.because(&error))?;
        let plain_json = content_type.starts_with("application/json");
        if status.is_success() || plain_json && accepts(status) {
            return Ok(Answer { status, text, headers });
        }
        Err(CliError::Answered(ServerProblem::read(status, &content_type, &text)))
    }

    /// Sends the request and returns the stream of events. The stream has no time limit.
    ///
    /// # Errors
    /// As [`Call::send`].
    pub(super) async fn stream(self) -> Result<reqwest::Response, CliError> {
        let failed = Failing { base: self.server.base.clone(), safe: true };
        let head = tokio::time::timeout(ANSWER, self.request().send()).await;
        let response = head.map_err(|_| failed.late())?.map_err(|error| failed.because(&error))?;
        let (status, content_type) = (response.status(), content_type(&response));
        if status.is_success() && content_type.starts_with("text/event-stream") {
            return Ok(response);
        }
        let text = tokio::time::timeout(ANSWER, response.text()).await;
        let text = text.map_err(|_| failed.late())?.map_err(|error| failed.because(&error))?;
        Err(CliError::Answered(ServerProblem::read(status, &content_type, &text)))
    }

    fn request(self) -> reqwest::RequestBuilder {
        let mut request = self.server.client.request(self.method, self.url).headers(self.headers);
        if let Some(token) = &self.server.token {
            request = request.header(header::AUTHORIZATION, token);
        }
        if self.body.is_empty() { request } else { request.body(self.body) }
    }
}

fn content_type(response: &reqwest::Response) -> String {
    let value = response.headers().get(header::CONTENT_TYPE);
    value.and_then(|value| value.to_str().ok()).unwrap_or_default().to_ascii_lowercase()
}

/// Explains why no complete answer came.
struct Failing {
    base: Url,
    /// Whether the request changes nothing, so that a repetition does no harm.
    safe: bool,
}

impl Failing {
    fn late(&self) -> CliError {
        let what = format!("{} did not answer in time", self.base);
        CliError::Unreachable { what, why: format!("nothing came for {}s", ANSWER.as_secs()) }
    }

    fn because(&self, error: &reqwest::Error) -> CliError {
        let base = &self.base;
        let mut what = if error.is_connect() {
            format!(
                "{base} cannot be reached; start hearken serve there, or name another address with --url or HEARKEN_URL"
            )
        } else if error.is_timeout() {
            format!("{base} did not answer in time")
        } else {
            format!("the connection to {base} broke before the answer was complete")
        };
        if !self.safe && !error.is_connect() {
            what.push_str("; the server may have done it: look before you repeat the command");
        }
        let mut root: &dyn Error = &error;
        while let Some(source) = root.source() {
            root = source;
        }
        CliError::Unreachable { what, why: root.to_string() }
    }
}
