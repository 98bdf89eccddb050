//! Class `webhook`: posts each event to a URL, signed as Standard Webhooks 1.0 says.
//!
//! The body is the event as a `CloudEvent` in structured JSON. `webhook-id` is the event's id and
//! is the same each time the event is tried, so a receiver can tell a repetition. A status of 200
//! to 299 is success and everything else is tried again; redirects are not followed, because a
//! receiver could use them to send a node to any address. `hearken-attempt` is the number of the
//! retry, 0 for the first time, and `hearken-group` the group. A receiver that answers 429 or 503
//! with `Retry-After` is not called with the event before that pause is over.

mod answer;
pub mod policy;
mod settings;
mod signature;

use super::{Class, Listener, ListenerSetup, settings::sentence};
use crate::{
    bus::{
        Execution, Failure,
        codec::{CLOUDEVENTS_JSON, encode_cloudevent},
        event::Event,
    },
    clock,
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

/// How long opening a connection may take.
const CONNECT: Duration = Duration::from_secs(5);

/// The class. All its listeners share one HTTP client, and with it open connections.
pub struct Webhook {
    policy: Arc<WebhookPolicy>,
    client: Result<Client, String>,
}

impl Webhook {
    /// The class under a policy. When no HTTP client can be made, such as on a machine without
    /// usable certificates, every listener of the class says so.
    #[must_use]
    pub fn new(policy: WebhookPolicy) -> Self {
        tls::init();
        let policy = Arc::new(policy);
        // No proxy: the policy looks at the address that is connected to, which would be the
        // proxy's.
        let client = Client::builder()
            .user_agent(concat!("hearken/", env!("CARGO_PKG_VERSION")))
            .no_proxy()
            .redirect(redirect::Policy::none())
            .referer(false)
            .connect_timeout(CONNECT)
            .dns_resolver(Resolver(Arc::clone(&policy)))
            .build()
            .map_err(|error| format!("no HTTP client can be made: {}", error_chain(&error)));
        Self { policy, client }
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

    fn make(&self, making: ListenerSetup) -> Result<Arc<dyn Listener>, String> {
        let settings = self.read(&making.configuration).map_err(|errors| sentence(&errors))?;
        let url = settings.url.ok_or("/url: is still a reference; it must be a URL here")?;
        Ok(Arc::new(Posting {
            client: self.client.clone()?,
            shown: shown(&url),
            url,
            key: settings.key,
            headers: settings.headers,
            timeout: settings.timeout.duration(),
        }))
    }
}

/// A URL as it may be logged: a query often has a token.
fn shown(url: &Url) -> String {
    let mut shown = url.clone();
    shown.set_query(None);
    shown.set_fragment(None);
    shown.into()
}

struct Posting {
    client: Client,
    url: Url,
    shown: String,
    key: Option<ring::hmac::Key>,
    headers: HeaderMap,
    timeout: Duration,
}

#[async_trait]
impl Listener for Posting {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        let body = encode_cloudevent(event);
        let id = signature::header_id(&event.id);
        let timestamp = clock::now().unix_timestamp();
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
            Ok(response) => answer::judge(&self.shown, response).await,
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
        // The URL may have a token in its query.
        Failure::new(format!("no answer from {to}: {}", error_chain(&error.without_url())))
    }
}
