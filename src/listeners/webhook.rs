//! Class `webhook`: posts each event to a URL, signed by Standard Webhooks 1.0.
//!
//! The body is the event as a `CloudEvent` in structured JSON. The request has these headers:
//! - `webhook-id` is the event's id. It is the same in every attempt, so that a receiver can detect
//!   a repetition.
//! - `hearken-attempt` is the number of the retry, 0 for the first attempt.
//! - `hearken-group` is the listener's group.
//!
//! A status of 200 to 299 is a success. After any other answer the event runs again. Redirects are
//! not followed, because a receiver could use them to send a node to any address. A receiver that
//! answers 429 or 503 with `Retry-After` does not get the event again before that pause is over.

mod answer;
pub mod policy;
mod settings;
mod signature;

use super::{Class, Listener, ListenerSetup, MakeError, Redactions, ResolvedConfiguration};
use crate::{
    bus::{
        Execution, Failure,
        codec::{CLOUDEVENTS_JSON, encode_cloudevent},
        event::Event,
    },
    clock::Clock,
    domain::{admission::ConfigurationError, listener::Configuration},
    error_chain::error_chain,
    tls,
};
use async_trait::async_trait;
use policy::{Resolver, WebhookPolicy};
use reqwest::{
    Client,
    header::{CONTENT_TYPE, HeaderMap},
    redirect,
};
use serde_json::Value;
use settings::{Settings, read};
use std::{sync::Arc, time::Duration};
use url::Url;

/// Longest time to open a connection.
const CONNECT: Duration = Duration::from_secs(5);

/// The class `webhook`. All its listeners share one HTTP client and its open connections.
pub struct Webhook {
    policy: Arc<WebhookPolicy>,
    /// The cause is kept as text, because each listener of the class reports it.
    client: Result<Client, String>,
    clock: Clock,
}

impl Webhook {
    /// The class with a policy. When no HTTP client can be made, such as on a machine without
    /// usable certificates, no listener of the class can be made, and each reports the cause.
    #[must_use]
    pub fn new(policy: WebhookPolicy, clock: Clock) -> Self {
        tls::init();
        let policy = Arc::new(policy);
        // No proxy, because the policy checks the address of the connection, which would be the
        // address of the proxy.
        let client = Client::builder()
            .user_agent(concat!("hearken/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .dns_resolver(Resolver(Arc::clone(&policy)))
            .build()
            .map_err(|error| format!("no HTTP client can be made: {}", error_chain(&error)));
        Self { policy, client, clock }
    }

    fn read(&self, configuration: &Configuration) -> Result<Settings, Vec<ConfigurationError>> {
        read(configuration, &self.policy)
    }
}

impl Class for Webhook {
    fn description(&self) -> &'static str {
        "Posts each event to a URL as a CloudEvent, signed as Standard Webhooks says."
    }

    fn schema(&self) -> Value {
        settings::schema()
    }

    fn validate(&self, configuration: &Configuration) -> Result<(), Vec<ConfigurationError>> {
        let written_out = settings::written_out(configuration);
        match self.read(configuration) {
            Ok(_) if written_out.is_empty() => Ok(()),
            Ok(_) => Err(written_out),
            Err(errors) => Err(errors.into_iter().chain(written_out).collect()),
        }
    }

    fn make(&self, setup: ListenerSetup) -> Result<Arc<dyn Listener>, MakeError> {
        let settings = self.read(setup.configuration.expose())?;
        let unresolved = || {
            let problem = "is still a reference; it must be a URL here".to_owned();
            vec![ConfigurationError { pointer: "/url".to_owned(), problem }]
        };
        let url = settings.url.ok_or_else(unresolved)?;
        Ok(Arc::new(Posting {
            client: self.client.clone().map_err(MakeError::Failed)?,
            shown: shown(&url, &setup.configuration),
            redactions: setup.configuration.redactions(),
            url,
            key: settings.key,
            headers: settings.headers,
            timeout: settings.timeout.duration(),
            clock: self.clock.clone(),
        }))
    }
}

/// A URL for causes. The query is left out, because it often has a token. A URL that was a
/// reference is left out as a whole.
fn shown(url: &Url, configuration: &ResolvedConfiguration) -> String {
    if configuration.is_secret("/url") {
        return "the receiver".to_owned();
    }
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

struct Posting {
    client: Client,
    url: Url,
    /// Name of the receiver in causes.
    shown: String,
    redactions: Arc<Redactions>,
    key: Option<ring::hmac::Key>,
    headers: HeaderMap,
    timeout: Duration,
    clock: Clock,
}

#[async_trait]
impl Listener for Posting {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        let body = encode_cloudevent(event);
        let id = signature::header_id(&event.id);
        let timestamp = self.clock.now().unix_timestamp();
        let mut request = self
            .client
            .post(self.url.clone())
            .timeout(self.timeout)
            .headers(self.headers.clone())
            .header(CONTENT_TYPE, CLOUDEVENTS_JSON)
            .header("webhook-id", &id)
            .header("webhook-timestamp", timestamp)
            .header("hearken-group", execution.group.as_str())
            .header("hearken-attempt", execution.attempt);
        if let Some(key) = &self.key {
            let signature = signature::sign(key, &id, timestamp, &body);
            request = request.header("webhook-signature", signature);
        }
        match request.body(body).send().await {
            Ok(response) => {
                answer::judge(&self.shown, response, &self.redactions, &self.clock).await
            }
            Err(error) => Err(self.unanswered(error)),
        }
    }
}

impl Posting {
    fn unanswered(&self, error: reqwest::Error) -> Failure {
        let to = &self.shown;
        if error.is_timeout() && !error.is_connect() {
            return Failure::new(format!("{to} did not answer within {:?}", self.timeout));
        }
        // The URL is left out, because its query may have a token.
        Failure::new(format!("no answer from {to}: {}", error_chain(&error.without_url())))
    }
}
