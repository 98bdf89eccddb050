//! `hearken listeners change`.

use super::settings::{IDEMPOTENCY_KEY, ListenerSettings};
use super::still_pending;
use crate::{
    cli::{
        client::{Answer, Server},
        error::{CliError, CommandEnd, DONE},
        output::cell,
    },
    domain::{
        name::{ClassName, GroupName},
        span::Span,
    },
};
use clap::Args;
use reqwest::{
    Method,
    header::{ETAG, IF_MATCH},
};
use serde_json::{Map, Value};

/// Number of times that the settings are read again because another command changed the roster.
const ATTEMPTS: usize = 5;

const EXAMPLES: &str = "\
The queue of the listener and its bindings stay, so that no event is missed. Settings that are not \
given stay as they are: --set changes one member of the configuration, --configuration replaces the \
whole. The bus and the delivery cannot change.

Examples:
  hearken listeners change search-index --set url=http://indexer-2.internal/events
  hearken listeners change search-index --concurrency 20 --reason CHG-1234";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ChangeListener {
    /// Group of the listener
    group: GroupName,
    /// Class that nodes instantiate the listener from
    #[arg(long)]
    class: Option<ClassName>,
    #[command(flatten)]
    settings: ListenerSettings,
    /// Reason for the change, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait at most this long, such as 5s, until the broker has the change
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Key of the command: the server executes commands with the same key only once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl ChangeListener {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let answer = self.change(server).await?;
        let pending = answer.json()?["topology"] != "converged";
        server.show(&answer, |json| {
            format!("changed {}; topology {}", self.group, cell(&json["topology"]))
        })?;
        Ok(if pending { still_pending(self.wait) } else { DONE })
    }

    /// Reads the settings, and writes them with the given ones if the roster is still the same.
    async fn change(&self, server: &Server) -> Result<Answer, CliError> {
        let path = ["listeners", self.group.as_str()];
        let mut attempts = 0;
        loop {
            attempts += 1;
            let present = server.get(&path).send().await?;
            let body = Value::from(self.body(&present.json()?)?);
            let mut call = server.call(Method::PUT, &path).maybe("wait", self.wait.as_ref());
            call = call.patience(self.wait.map(Span::duration).unwrap_or_default());
            call = call.body("application/json", body.to_string().into_bytes())?;
            let version = present.headers.get(ETAG).and_then(|version| version.to_str().ok());
            if let Some(version) = version {
                call = call.header(IF_MATCH, version)?;
            }
            if let Some(key) = &self.idempotency_key {
                call = call.header(IDEMPOTENCY_KEY, key)?;
            }
            match call.send().await {
                Err(CliError::Answered(problem))
                    if problem.slug() == "stale-version" && attempts < ATTEMPTS => {}
                end => return end,
            }
        }
    }

    /// The whole settings: those of the listener, with the given ones in their place.
    fn body(&self, present: &Value) -> Result<Map<String, Value>, CliError> {
        const KEPT: [&str; 6] =
            ["class", "mode", "concurrency", "timeout", "retry", "configuration"];
        let kept = KEPT.iter().filter_map(|name| {
            Some(((*name).to_owned(), present.get(*name).filter(|value| !value.is_null())?.clone()))
        });
        let mut body: Map<String, Value> = kept.collect();
        if let Some(class) = &self.class {
            body.insert("class".into(), class.as_str().into());
        }
        self.settings.write_to(&mut body)?;
        if let Some(reason) = &self.reason {
            body.insert("reason".into(), reason.as_str().into());
        }
        Ok(body)
    }
}
