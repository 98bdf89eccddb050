//! The part of RabbitMQ's management API that hearken reads.

use super::{
    history::{HistoryRow, SampleWindow},
    observed::{CountRow, Overview},
};
use crate::{
    amqp::{AmqpUrl, AmqpUrlError},
    broker::BrokerError,
    metrics::Metrics,
};
use reqwest::{Client, StatusCode, header::LOCATION, redirect};
use serde::de::{DeserializeOwned, IgnoredAny};
use std::{sync::Arc, time::Duration};
use url::Url;

/// Reads the management API of one virtual host.
pub(super) struct Management {
    client: Client,
    base: Url,
    user: String,
    password: String,
    virtual_host: String,
    metrics: Option<Arc<Metrics>>,
}

impl Management {
    pub(super) fn new(amqp: &AmqpUrl, url: Option<&str>) -> Result<Self, AmqpUrlError> {
        crate::tls::init();
        let wrong = |problem: String| AmqpUrlError { setting: "--management-url", problem };
        let form =
            "write http://host:15672, with user:password@ if they differ from those of --amqp-url";
        let text = url.map_or_else(|| amqp.management(), str::to_owned);
        let mut base =
            Url::parse(&text).map_err(|e| wrong(format!("it is not a URL ({e}); {form}")))?;
        if !matches!(base.scheme(), "http" | "https") {
            return Err(wrong(format!("it is not an http or https address; {form}")));
        }
        let (user, password) = match base.username() {
            "" => (amqp.user().to_owned(), amqp.password().to_owned()),
            _ => credentials(&base).ok_or_else(|| wrong("its user is not UTF-8".to_owned()))?,
        };
        // Both are refused only by URLs without a host, which http and https do not have.
        let _ = base.set_username("");
        let _ = base.set_password(None);
        base.set_query(None);
        base.set_fragment(None);
        let client = Client::builder()
            .connect_timeout(Duration::from_secs(5))
            .timeout(Duration::from_secs(30))
            .redirect(redirect::Policy::none())
            .build()
            .map_err(|e| wrong(format!("an HTTP client cannot be made ({e})")))?;
        let virtual_host = amqp.virtual_host().to_owned();
        Ok(Self { client, base, user, password, virtual_host, metrics: None })
    }

    /// Measures requests in these metrics.
    pub(super) fn counted(self, metrics: Arc<Metrics>) -> Self {
        Self { metrics: Some(metrics), ..self }
    }

    /// Lists all objects of one kind in the virtual host.
    pub(super) async fn list<T: DeserializeOwned>(
        &self,
        kind: &str,
        query: &str,
    ) -> Result<Vec<T>, BrokerError> {
        let what = format!("read the {kind} of virtual host {:?}", self.virtual_host);
        self.get(&what, &[kind, &self.virtual_host], query).await?.ok_or_else(|| {
            BrokerError::Missing(format!(
                "virtual host {:?}, says the management API at {}",
                self.virtual_host, self.base
            ))
        })
    }

    /// Address of the API, without credentials.
    pub(super) fn address(&self) -> &str {
        self.base.as_str()
    }

    /// Whether the virtual host has a queue.
    pub(super) async fn has_queue(&self, name: &str) -> Result<bool, BrokerError> {
        let what = format!("look for queue {name}");
        let path = ["queues", &self.virtual_host, name];
        let found: Option<IgnoredAny> = self.get(&what, &path, "disable_stats=true").await?;
        Ok(found.is_some())
    }

    /// Counts of one queue; `None` when the queue or the virtual host does not exist.
    pub(super) async fn queue(&self, name: &str) -> Result<Option<CountRow>, BrokerError> {
        let what = format!("count the events of queue {name}");
        self.get(&what, &["queues", &self.virtual_host, name], "").await
    }

    /// Samples of one queue; `None` when the queue or the virtual host does not exist.
    pub(super) async fn history(
        &self,
        name: &str,
        SampleWindow { reach, step }: SampleWindow,
    ) -> Result<Option<HistoryRow>, BrokerError> {
        let what = format!("read the history of queue {name}");
        let (age, step) = (reach.as_secs(), step.as_secs());
        let query = format!(
            "lengths_age={age}&lengths_incr={step}&msg_rates_age={age}&msg_rates_incr={step}"
        );
        self.get(&what, &["queues", &self.virtual_host, name], &query).await
    }

    /// Product and version of the broker.
    pub(super) async fn overview(&self) -> Result<Overview, BrokerError> {
        let answer = self.get("read the broker's version", &["overview"], "disable_stats=true");
        answer
            .await?
            .ok_or_else(|| BrokerError::Protocol(format!("{} has no /api/overview", self.base)))
    }

    async fn get<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &[&str],
        query: &str,
    ) -> Result<Option<T>, BrokerError> {
        let measured = self.metrics.as_ref().map(|metrics| metrics.management_request());
        let answer = self.request(what, path, query).await;
        if let (Some(measured), Ok(_)) = (measured, &answer) {
            measured.answered();
        }
        answer
    }

    async fn request<T: DeserializeOwned>(
        &self,
        what: &str,
        path: &[&str],
        query: &str,
    ) -> Result<Option<T>, BrokerError> {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            // Each part is percent-encoded, including slashes: the default virtual host is `%2F`.
            segments.pop_if_empty().push("api").extend(path);
        }
        url.set_query(Some(query).filter(|query| !query.is_empty()));
        let unreachable = |error: reqwest::Error| BrokerError::Unreachable {
            what: format!("{what}, at {url}"),
            source: Some(Box::new(error.without_url())),
        };
        let request = self.client.get(url.clone()).basic_auth(&self.user, Some(&self.password));
        let answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        let location = answer.headers().get(LOCATION).and_then(|to| to.to_str().ok());
        if status.is_redirection() {
            let to = location.unwrap_or("another address").to_owned();
            return Err(BrokerError::Protocol(format!(
                "{url} redirects to {to}: give the final address in --management-url"
            )));
        }
        let body = answer.bytes().await.map_err(unreachable)?;
        self.read(what, &url, status, &body)
    }

    fn read<T: DeserializeOwned>(
        &self,
        what: &str,
        url: &Url,
        status: StatusCode,
        body: &[u8],
    ) -> Result<Option<T>, BrokerError> {
        let refused = |reply: String| BrokerError::Refused { what: what.to_owned(), reply };
        let reason = || serde_json::from_slice::<Reason>(body).ok();
        match status {
            StatusCode::OK => serde_json::from_slice(body).map(Some).map_err(|error| {
                unreadable(url, status, body, &format!("it cannot be read ({error})"))
            }),
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                let reason = reason().map(|reason| reason.to_string()).unwrap_or_default();
                Err(refused(format!(
                    "the management API at {} refused user {:?} ({status}{}{reason}): check --management-url, and that the user may use virtual host {:?} and has the tag \"management\"",
                    self.base,
                    self.user,
                    if reason.is_empty() { "" } else { ": " },
                    self.virtual_host,
                )))
            }
            // Only a 404 of RabbitMQ shows that an object does not exist. A 404 of a proxy does
            // not.
            StatusCode::NOT_FOUND if reason().is_some() => Ok(None),
            _ if status.is_server_error() => {
                let text = excerpt(body);
                Err(BrokerError::Unreachable {
                    what: format!("{what}, at {url}: it answered {status}: {text}"),
                    source: None,
                })
            }
            _ => Err(unreadable(url, status, body, "that is not RabbitMQ's management API")),
        }
    }
}

fn credentials(url: &Url) -> Option<(String, String)> {
    let decode = |text: &str| {
        // A form decoder turns `+` into a space, but in user information `+` stands for itself.
        let text = text.replace('+', "%2B");
        let text = format!("v={text}");
        url::form_urlencoded::parse(text.as_bytes()).next().map(|(_, value)| value.into_owned())
    };
    Some((decode(url.username())?, decode(url.password().unwrap_or_default())?))
}

/// Body of an error answer of RabbitMQ.
#[derive(serde::Deserialize)]
struct Reason {
    error: String,
    #[serde(default)]
    reason: serde_json::Value,
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.reason.as_str() {
            Some(reason) => write!(f, "{}, {reason}", self.error),
            None => f.write_str(&self.error),
        }
    }
}

fn unreadable(url: &Url, status: StatusCode, body: &[u8], why: &str) -> BrokerError {
    BrokerError::Protocol(format!(
        "{url} answered {status} with {:?}: {why}; check --management-url",
        excerpt(body)
    ))
}

/// The beginning of a body, at most 100 characters for a log line.
fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(400)]).chars().take(100).collect()
}
