//! `hearken listeners add`.

use crate::{
    cli::{
        client::Server,
        error::{CliError, CommandEnd, DONE},
        output::cell,
        terminal::remark,
    },
    domain::{
        name::{BusName, ClassName, GroupName},
        span::Span,
    },
};
use clap::Args;
use reqwest::{Method, header::HeaderName};
use serde_json::{Map, Value, json};
use std::path::PathBuf;

/// Header with the key of a command, which the server executes only once.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const EXAMPLES: &str = "\
The VALUE of --set is text, unless it is a JSON number, true, false, null, or starts with {, [ or \".

Examples:
  hearken listeners add --class log
  hearken listeners add --class webhook --group search-index \\
      --set url=http://indexer.internal/events --set 'secret={\"env\":\"INDEXER_SECRET\"}' \\
      --retry-attempts 12 --reason CHG-1234 --wait 5s";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AddListener {
    /// Class that nodes instantiate the listener from; hearken classes lists the classes
    #[arg(long)]
    class: ClassName,
    /// Group, the identity of the listener [default: the name of the class]
    #[arg(long)]
    group: Option<GroupName>,
    /// Bus whose events the listener receives [default: mailboxEvent]
    #[arg(long)]
    bus: Option<BusName>,
    /// Whether one node of the cluster or every node executes an event [default: once]
    #[arg(long, value_parser = ["once", "every-node"], value_name = "HOW")]
    delivery: Option<String>,
    /// Whether a dispatch in the same process waits for the listener [default: async]
    #[arg(long, value_parser = ["sync", "async"])]
    mode: Option<String>,
    /// Largest number of concurrent executions on one node [default: 10]
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<u16>,
    /// Longest time that one execution may take [default: 10m]
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// Number of retries after the first execution [default: 8]
    #[arg(long, value_name = "NUMBER")]
    retry_attempts: Option<u32>,
    /// Pause before the first retry; each further pause is twice as long [default: 100ms]
    #[arg(long, value_name = "TIME")]
    retry_first: Option<Span>,
    /// Longest pause, before jitter is added [default: 10s]
    #[arg(long, value_name = "TIME")]
    retry_max: Option<Span>,
    /// Largest share of a pause, from 0 to 1, that is added to it at random [default: 0.5]
    #[arg(long, value_name = "SHARE")]
    retry_jitter: Option<f64>,
    #[command(flatten)]
    configuration: ClassConfiguration,
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

/// The three ways to give the configuration of the class, of which only one is accepted at a time.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
struct ClassConfiguration {
    /// Configuration of the class, as a JSON object
    #[arg(long, value_name = "JSON")]
    configuration: Option<String>,
    /// File with the configuration of the class
    #[arg(long, value_name = "FILE")]
    configuration_file: Option<PathBuf>,
    /// One member of the configuration; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl ClassConfiguration {
    fn read(&self) -> Result<Option<Map<String, Value>>, CliError> {
        let object = |origin: &str, text: &str| {
            serde_json::from_str::<Map<String, Value>>(text)
                .map_err(|error| CliError::Usage(format!("{origin} is not a JSON object: {error}")))
        };
        if let Some(text) = &self.configuration {
            return object("--configuration", text).map(Some);
        }
        if let Some(path) = &self.configuration_file {
            let text = std::fs::read_to_string(path).map_err(|error| {
                CliError::Usage(format!("{} cannot be read: {error}", path.display()))
            })?;
            return object(&path.display().to_string(), &text).map(Some);
        }
        let mut members = Map::new();
        for pair in &self.set {
            let wrong = |problem: String| Err(CliError::Usage(format!("--set {problem}")));
            let Some((key, text)) = pair.split_once('=').filter(|(key, _)| !key.is_empty()) else {
                return wrong(format!("{pair:?} is not KEY=VALUE"));
            };
            let value = loose_json(text).map_err(|error| {
                CliError::Usage(format!(
                    "--set {key} begins like JSON but is not valid JSON: {error}"
                ))
            })?;
            if members.insert(key.to_owned(), value).is_some() {
                return wrong(format!("{key} is given twice"));
            }
        }
        Ok((!members.is_empty()).then_some(members))
    }
}

/// Reads a value as people type it: JSON if the text is JSON, otherwise the text itself.
///
/// # Errors
/// When the text begins like a JSON object, array or string but is not valid JSON.
pub(in crate::cli) fn loose_json(text: &str) -> Result<Value, serde_json::Error> {
    match serde_json::from_str(text) {
        Err(error) if text.trim_start().starts_with(['{', '[', '"']) => Err(error),
        Err(_) => Ok(text.into()),
        Ok(value) => Ok(value),
    }
}

impl AddListener {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let body = self.body()?;
        let mut call = server.call(Method::POST, &["listeners"]).maybe("wait", self.wait.as_ref());
        call = call.patience(self.wait.map(Span::duration).unwrap_or_default());
        call = call.body("application/json", body.to_string().into_bytes())?;
        if let Some(key) = &self.idempotency_key {
            call = call.header(IDEMPOTENCY_KEY, key)?;
        }
        let answer = call.send().await?;
        let mut pending = false;
        server.show(&answer, |json| {
            pending = json["topology"] != "converged";
            let [group, class, bus] = ["group", "class", "bus"].map(|name| cell(&json[name]));
            let topology = cell(&json["topology"]);
            format!("added {group} (class {class}, bus {bus}); topology {topology}")
        })?;
        if pending {
            remark(
                "the broker does not have the change yet; hearken topology show tells when it has",
            );
        }
        Ok(DONE)
    }

    /// Body with the given settings only: the server knows the defaults.
    fn body(&self) -> Result<Value, CliError> {
        let retry = given([
            ("attempts", self.retry_attempts.map(Value::from)),
            ("first", self.retry_first.map(|span| span.to_string().into())),
            ("max", self.retry_max.map(|span| span.to_string().into())),
            ("jitter", self.retry_jitter.map(Value::from)),
        ]);
        let body = given([
            ("class", Some(json!(self.class))),
            ("group", self.group.as_ref().map(|group| json!(group))),
            ("bus", self.bus.as_ref().map(|bus| json!(bus))),
            ("delivery", self.delivery.clone().map(Value::from)),
            ("mode", self.mode.clone().map(Value::from)),
            ("concurrency", self.concurrency.map(Value::from)),
            ("timeout", self.timeout.map(|span| span.to_string().into())),
            ("retry", (!retry.is_empty()).then_some(retry.into())),
            ("configuration", self.configuration.read()?.map(Value::from)),
            ("reason", self.reason.clone().map(Value::from)),
        ]);
        Ok(body.into())
    }
}

/// Members that have a value.
fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[&str]) -> Result<Option<Map<String, Value>>, CliError> {
        let set = pairs.iter().map(ToString::to_string).collect();
        ClassConfiguration { set, ..ClassConfiguration::default() }.read()
    }

    #[test]
    fn a_set_value_is_json_if_it_can_be_and_text_otherwise() {
        let set =
            set(&["url=http://a/?b=c", "n=3", "on=true", "s={\"env\":\"X\"}", "t=\"3\"", "e="]);
        let expected = json!({"url": "http://a/?b=c", "n": 3, "on": true, "s": {"env": "X"}, "t": "3", "e": ""});
        assert_eq!(Value::from(set.unwrap().unwrap()), expected);
    }

    #[test]
    fn a_set_value_that_cannot_be_read_is_refused() {
        for pairs in [&["a"][..], &["=1"], &["a={"], &["a=[1"], &["a=1", "a=2"]] {
            assert!(matches!(set(pairs), Err(CliError::Usage(_))), "{pairs:?}");
        }
        let array = ClassConfiguration {
            configuration: Some("[]".into()),
            ..ClassConfiguration::default()
        };
        assert!(
            array
                .read()
                .unwrap_err()
                .to_string()
                .starts_with("--configuration is not a JSON object")
        );
    }
}
