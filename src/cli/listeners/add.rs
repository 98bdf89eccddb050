//! `hearken listeners add`.

use crate::{
    cli::{
        client::Server,
        error::{CliError, DONE, Outcome},
        output::{cell, remark},
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

/// Names a command to the server.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const EXAMPLES: &str = "\
What --set gives is text, unless it is a JSON number, true, false, null, or starts with {, [ or \".

Examples:
  hearken listeners add --class log
  hearken listeners add --class webhook --group search-index \\
      --set url=http://indexer.internal/events --set 'secret={\"env\":\"INDEXER_SECRET\"}' \\
      --retry-attempts 12 --reason CHG-1234 --wait 5s";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Add {
    /// What nodes instantiate it from; hearken classes shows them
    #[arg(long)]
    class: ClassName,
    /// Its identity; the class's name if not given
    #[arg(long)]
    group: Option<GroupName>,
    /// The bus it listens to; mailboxEvent if not given
    #[arg(long)]
    bus: Option<BusName>,
    /// Once in the cluster, or on every node
    #[arg(long, value_parser = ["once", "every-node"], value_name = "HOW")]
    delivery: Option<String>,
    /// Whether a dispatch in the same process waits for it
    #[arg(long, value_parser = ["sync", "async"])]
    mode: Option<String>,
    /// Executions at the same time on one node (10)
    #[arg(long, value_name = "NUMBER")]
    concurrency: Option<u16>,
    /// How long one execution may take (10m)
    #[arg(long, value_name = "TIME")]
    timeout: Option<Span>,
    /// Retries after the first execution (8)
    #[arg(long, value_name = "NUMBER")]
    retry_attempts: Option<u32>,
    /// The pause before the first retry, which doubles each time (100ms)
    #[arg(long, value_name = "TIME")]
    retry_first: Option<Span>,
    /// The longest pause, before the jitter (10s)
    #[arg(long, value_name = "TIME")]
    retry_max: Option<Span>,
    /// The share of a pause that may be added to it at random, from 0 to 1 (0.5)
    #[arg(long, value_name = "SHARE")]
    retry_jitter: Option<f64>,
    #[command(flatten)]
    told: Told,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait until the broker follows, at most so long, such as 5s
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Names the command, so that it can be sent again without being done twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

/// The three ways to tell a class what it needs to know; only one at a time.
#[derive(Debug, Default, Args)]
#[group(multiple = false)]
struct Told {
    /// What the class is told, as a JSON object
    #[arg(long, value_name = "JSON")]
    configuration: Option<String>,
    /// The file with that JSON object
    #[arg(long, value_name = "FILE")]
    configuration_file: Option<PathBuf>,
    /// One member of that object; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
}

impl Told {
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
                CliError::Usage(format!("--set {key} looks like JSON and is not: {error}"))
            })?;
            if members.insert(key.to_owned(), value).is_some() {
                return wrong(format!("{key} is given twice"));
            }
        }
        Ok((!members.is_empty()).then_some(members))
    }
}

/// A value as people type it: JSON where it is, or has to be, and text otherwise.
///
/// # Errors
/// When it starts as JSON does and is not JSON.
pub(in crate::cli) fn loose_json(text: &str) -> Result<Value, serde_json::Error> {
    match serde_json::from_str(text) {
        Err(error) if text.trim_start().starts_with(['{', '[', '"']) => Err(error),
        Err(_) => Ok(text.into()),
        Ok(value) => Ok(value),
    }
}

impl Add {
    pub(super) async fn run(self, server: &Server) -> Outcome {
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
            remark("the broker does not follow yet; see: hearken topology show");
        }
        Ok(DONE)
    }

    /// Only what was given: the server knows the defaults.
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
            ("configuration", self.told.read()?.map(Value::from)),
            ("reason", self.reason.clone().map(Value::from)),
        ]);
        Ok(body.into())
    }
}

fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(pairs: &[&str]) -> Result<Option<Map<String, Value>>, CliError> {
        let set = pairs.iter().map(ToString::to_string).collect();
        Told { set, ..Told::default() }.read()
    }

    #[test]
    fn what_is_set_is_json_where_it_is_and_text_otherwise() {
        let set =
            set(&["url=http://a/?b=c", "n=3", "on=true", "s={\"env\":\"X\"}", "t=\"3\"", "e="]);
        let expected = json!({"url": "http://a/?b=c", "n": 3, "on": true, "s": {"env": "X"}, "t": "3", "e": ""});
        assert_eq!(Value::from(set.unwrap().unwrap()), expected);
    }

    #[test]
    fn what_cannot_be_set_is_refused() {
        for pairs in [&["a"][..], &["=1"], &["a={"], &["a=[1"], &["a=1", "a=2"]] {
            assert!(matches!(set(pairs), Err(CliError::Usage(_))), "{pairs:?}");
        }
        let array = Told { configuration: Some("[]".into()), ..Told::default() };
        assert!(
            array
                .read()
                .unwrap_err()
                .to_string()
                .starts_with("--configuration is not a JSON object")
        );
    }
}
