//! Settings of a listener, as the commands that add and change listeners take them.

use crate::{cli::error::CliError, domain::span::Span};
use clap::Args;
use reqwest::header::HeaderName;
use serde_json::{Map, Value};
use std::path::PathBuf;

/// Header with the key of a command, which the server executes only once.
pub(super) const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The settings of a listener that a change can change.
#[derive(Debug, Default, Args)]
pub(super) struct ListenerSettings {
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
}

impl ListenerSettings {
    /// Writes the given settings into a body. A setting that was not given stays as the body has
    /// it.
    pub(super) fn write_to(&self, body: &mut Map<String, Value>) -> Result<(), CliError> {
        let retry = given([
            ("attempts", self.retry_attempts.map(Value::from)),
            ("first", self.retry_first.map(|span| span.to_string().into())),
            ("max", self.retry_max.map(|span| span.to_string().into())),
            ("jitter", self.retry_jitter.map(Value::from)),
        ]);
        body.extend(given([
            ("mode", self.mode.clone().map(Value::from)),
            ("concurrency", self.concurrency.map(Value::from)),
            ("timeout", self.timeout.map(|span| span.to_string().into())),
        ]));
        merge(body, "retry", retry);
        let members = self.configuration.read()?;
        if self.configuration.is_whole() {
            body.remove("configuration");
        }
        if let Some(members) = members {
            if members.is_empty() {
                body.insert("configuration".into(), members.into());
            } else {
                merge(body, "configuration", members);
            }
        }
        Ok(())
    }
}

/// Puts members into an object in the body. Without members, the body stays as it is.
fn merge(body: &mut Map<String, Value>, name: &str, members: Map<String, Value>) {
    if members.is_empty() {
        return;
    }
    match body.get_mut(name) {
        Some(Value::Object(present)) => present.extend(members),
        _ => drop(body.insert(name.to_owned(), members.into())),
    }
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
    /// Whether the whole configuration was given, not single members.
    fn is_whole(&self) -> bool {
        self.configuration.is_some() || self.configuration_file.is_some()
    }

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

/// Members that have a value.
pub(super) fn given<const N: usize>(members: [(&str, Option<Value>); N]) -> Map<String, Value> {
    let given = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    given.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

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

    #[test]
    fn a_given_setting_replaces_the_present_one_and_the_others_stay() {
        let mut body = Map::new();
        body.insert("concurrency".into(), json!(10));
        body.insert("retry".into(), json!({"attempts": 8, "first": "100ms"}));
        body.insert("configuration".into(), json!({"url": "http://old/", "secret": {"env": "S"}}));
        let configuration =
            ClassConfiguration { set: vec!["url=http://new/".into()], ..Default::default() };
        let settings =
            ListenerSettings { retry_attempts: Some(2), configuration, ..Default::default() };
        settings.write_to(&mut body).unwrap();
        let expected = json!({
            "concurrency": 10, "retry": {"attempts": 2, "first": "100ms"},
            "configuration": {"url": "http://new/", "secret": {"env": "S"}},
        });
        assert_eq!(Value::from(body.clone()), expected);
        let configuration =
            ClassConfiguration { configuration: Some("{}".into()), ..Default::default() };
        let settings = ListenerSettings { configuration, ..Default::default() };
        settings.write_to(&mut body).unwrap();
        assert_eq!(body["configuration"], json!({}));
    }
}
