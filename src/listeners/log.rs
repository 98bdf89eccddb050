//! Class `log`: writes a line to the node's log for each event.

use super::{Class, Listener, ListenerSetup, MakeError, settings::Reader};
use crate::{
    bus::{
        Execution, Failure,
        event::{Data, Event},
    },
    domain::{admission::ConfigurationError, listener::Configuration},
};
use async_trait::async_trait;
use serde_json::{Value, json};
use std::sync::Arc;

/// Largest part of an event's data in a line, in bytes.
const MAX_DATA: usize = 1024;

/// The class `log`.
pub struct Log;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Debug,
    Info,
    Warn,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    level: Level,
    data: bool,
}

fn settings(configuration: &Configuration) -> Result<Settings, Vec<ConfigurationError>> {
    let mut reader = Reader::new(configuration);
    let level = reader.field("level", |value| match value.as_str() {
        Some("debug") => Ok(Level::Debug),
        Some("info") => Ok(Level::Info),
        Some("warn") => Ok(Level::Warn),
        _ => Err(format!("is {value}; it must be \"debug\", \"info\" or \"warn\"")),
    });
    let data = reader.field("data", |value| {
        value.as_bool().ok_or_else(|| format!("is {value}; it must be true or false"))
    });
    reader.finish()?;
    Ok(Settings { level: level.unwrap_or(Level::Info), data: data.unwrap_or(false) })
}

impl Class for Log {
    fn description(&self) -> &'static str {
        "Writes a line to the node's log for each event."
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {
                "level": {
                    "enum": ["debug", "info", "warn"],
                    "default": "info",
                    "description": "The level of the line."
                },
                "data": {
                    "type": "boolean",
                    "default": false,
                    "description": "Whether the line has the data of the event, shortened."
                }
            }
        })
    }

    fn validate(&self, configuration: &Configuration) -> Result<(), Vec<ConfigurationError>> {
        settings(configuration).map(|_| ())
    }

    fn make(&self, setup: ListenerSetup) -> Result<Arc<dyn Listener>, MakeError> {
        let settings = settings(setup.configuration.expose())?;
        Ok(Arc::new(Logging(settings)))
    }
}

struct Logging(Settings);

#[async_trait]
impl Listener for Logging {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    event.id,
                    event.r#type = event.kind,
                    event.source,
                    event.user = event.user.as_deref(),
                    event.data = self.0.data.then(|| shown(&event.data)).flatten(),
                    group = execution.group.as_str(),
                    bus = execution.bus.as_str(),
                    attempt = execution.attempt,
                    "event {} of type {} on bus {}",
                    event.id,
                    event.kind,
                    execution.bus
                )
            };
        }
        match self.0.level {
            Level::Debug => line!(debug),
            Level::Info => line!(info),
            Level::Warn => line!(warn),
        }
        Ok(())
    }
}

fn shown(data: &Data) -> Option<String> {
    match data {
        Data::None => None,
        Data::Json(json) => {
            let json = json.get();
            let end = json.floor_char_boundary(MAX_DATA);
            Some(if end < json.len() { format!("{}…", &json[..end]) } else { json.to_owned() })
        }
        Data::Bytes { content_type, bytes } => {
            let kind = content_type.as_deref().unwrap_or("no content type");
            Some(format!("{} bytes, {kind}", bytes.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::codec::decode,
        clock::Clock,
        domain::name::{BusName, GroupName},
    };
    use parking_lot::Mutex;
    use std::io::Write;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn configuration(value: Value) -> Configuration {
        serde_json::from_value(value).unwrap()
    }

    async fn logged(options: Value, body: &str) -> String {
        let group = GroupName::parse("audit").unwrap();
        let setup =
            ListenerSetup { group: group.clone(), configuration: configuration(options).into() };
        let listener = Log.make(setup).unwrap();
        let bus = BusName::parse("mailboxEvent").unwrap();
        let configured = crate::fixtures::listener("audit");
        let execution = Execution {
            group,
            bus,
            ..Execution::begin(&configured, 2, Clock::system().monotonic())
        };
        let lines = Lines::default();
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .finish();
        let guard = tracing::subscriber::set_default(subscriber);
        let event = decode(None, body.as_bytes()).unwrap();
        listener.on_event(&event, &execution).await.unwrap();
        drop(guard);
        let bytes = lines.0.lock().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[tokio::test]
    async fn an_event_is_one_line_that_names_it() {
        let body = r#"{"Added":{"eventId":"e-1","user":"bob \"admin\"","secret":"s\n"}}"#;
        let text = logged(json!({}), body).await;
        assert_eq!(text.lines().count(), 1, "{text}");
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "INFO");
        let fields = &line["fields"];
        assert_eq!(fields["message"], "event e-1 of type Added on bus mailboxEvent");
        assert_eq!(fields["event.id"], "e-1");
        assert_eq!(fields["event.user"], "bob \"admin\"");
        assert_eq!(fields["group"], "audit");
        assert_eq!(fields["attempt"], 2);
        assert!(fields.get("event.data").is_none());
    }

    #[tokio::test]
    async fn data_is_shown_when_asked_for_and_shortened() {
        let body = format!(r#"{{"Added":{{"eventId":"e","x":"{}"}}}}"#, "é".repeat(2000));
        let text = logged(json!({"level": "warn", "data": true}), &body).await;
        let line: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["level"], "WARN");
        let data = line["fields"]["event.data"].as_str().unwrap();
        assert!(data.len() <= MAX_DATA + "…".len() && data.ends_with("é…"), "{data}");
    }

    #[test]
    fn a_wrong_configuration_is_refused_with_every_mistake() {
        let wrong = configuration(json!({"level": "loud", "data": 1, "a/b": 1}));
        let errors = Log.validate(&wrong).unwrap_err();
        let pointers: Vec<_> = errors.iter().map(|e| e.pointer.as_str()).collect();
        assert_eq!(pointers, ["/level", "/data", "/a~1b"]);
        assert!(errors[2].problem.contains("there are level, data"));
    }

    #[test]
    fn the_schema_allows_exactly_the_accepted_configurations() {
        let schema = jsonschema::validator_for(&Log.schema()).unwrap();
        for (value, good) in [
            (json!({}), true),
            (json!({"level": "debug", "data": true}), true),
            (json!({"level": "trace"}), false),
            (json!({"other": 1}), false),
        ] {
            assert_eq!(schema.is_valid(&value), good, "{value}");
            assert_eq!(Log.validate(&configuration(value.clone())).is_ok(), good, "{value}");
        }
    }
}
