//! Talks to a running node.

mod remote;

pub(super) use remote::Remote;

use super::{
    error::CliError,
    output::{Format, print},
    problem::Problem,
};
use reqwest::{Method, StatusCode, header};
use serde_json::Value;
use std::{error::Error, time::Duration};
use url::Url;

/// How long a connection may take to come up.
const CONNECT: Duration = Duration::from_secs(5);
/// How long an answer may take that waits for nothing.
const ANSWER: Duration = Duration::from_secs(30);

/// A server, ready to be called.
#[derive(Debug)]
pub(super) struct Server {
    client: reqwest::Client,
    base: Url,
    token: Option<header::HeaderValue>,
    format: Format,
}

/// A whole answer.
#[derive(Debug)]
pub(super) struct Answer {
    /// Its status.
    pub(super) status: StatusCode,
    /// Its body.
    pub(super) text: String,
}

/// A request being put together.
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
    /// Whether the server's JSON is printed.
    #[must_use]
    pub(super) fn prints_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Its address, as it was given.
    #[must_use]
    pub(super) fn base(&self) -> &Url {
        &self.base
    }

    /// A request for a path, given in segments.
    pub(super) fn call(&self, method: Method, path: &[&str]) -> Call<'_> {
        let mut url = self.base.clone();
        url.path_segments_mut().expect("http URLs have paths").pop_if_empty().extend(path);
        let headers = header::HeaderMap::new();
        Call { server: self, method, url, headers, body: Vec::new(), patience: Duration::ZERO }
    }

    /// A request that changes nothing.
    pub(super) fn get(&self, path: &[&str]) -> Call<'_> {
        self.call(Method::GET, path)
    }

    /// Prints an answer: as it came, or as `render` makes it for people.
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
    /// The body as JSON.
    ///
    /// # Errors
    /// When it is not.
    pub(super) fn json(&self) -> Result<Value, CliError> {
        serde_json::from_str(&self.text).map_err(|error| {
            CliError::Failed(format!(
                "the answer is not JSON ({error}); is it hearken that runs there?"
            ))
        })
    }
}

impl Call<'_> {
    /// With a query parameter.
    pub(super) fn query(mut self, name: &str, value: &str) -> Self {
        self.url.query_pairs_mut().append_pair(name, value);
        self
    }

    /// With a query parameter, where it is given.
    pub(super) fn maybe(self, name: &str, value: Option<&impl ToString>) -> Self {
        match value {
            Some(value) => self.query(name, &value.to_string()),
            None => self,
        }
    }

    /// With a header.
    ///
    /// # Errors
    /// When the value cannot be one.
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

    /// With a body.
    ///
    /// # Errors
    /// When the content type cannot be one.
    pub(super) fn body(mut self, content_type: &str, body: Vec<u8>) -> Result<Self, CliError> {
        self.body = body;
        self.header(header::CONTENT_TYPE, content_type)
    }

    /// Gives the server more time to answer, since it was asked to wait.
    pub(super) fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Sends it and reads the whole answer.
    ///
    /// # Errors
    /// [`CliError::Unreachable`] when none comes, [`CliError::Answered`] when it is no success.
    pub(super) async fn send(self) -> Result<Answer, CliError> {
        self.send_accepting(|_| false).await
    }

    /// As [`Call::send`], and takes an answer of some other status for a success, too, when it is
    /// JSON and no problem.
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
        let text = response.text().await.map_err(|error| failed.because(&error))?;
        let plain_json = content_type.starts_with("application/json");
        if status.is_success() || plain_json && accepts(status) {
            return Ok(Answer { status, text });
        }
        Err(CliError::Answered(Problem::read(status, &content_type, &text)))
    }

    /// Sends it and hands over the stream of events while it comes in, without a limit of time.
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
        Err(CliError::Answered(Problem::read(status, &content_type, &text)))
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

/// What to say when no whole answer comes.
struct Failing {
    base: Url,
    /// Whether the request changes nothing.
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
                "{base} cannot be reached; is hearken serve running there? --url or HEARKEN_URL names another"
            )
        } else if error.is_timeout() {
            format!("{base} did not answer in time")
        } else {
            format!("the connection to {base} broke before the answer was whole")
        };
        if !self.safe && !error.is_connect() {
            what.push_str("; whether it was done is not known, look before you do it again");
        }
        let mut root: &dyn Error = &error;
        while let Some(source) = root.source() {
            root = source;
        }
        CliError::Unreachable { what, why: root.to_string() }
    }
}
