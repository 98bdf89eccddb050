//! Making of listeners: resolves the secrets of a listener, and keeps them inside of it.

use super::{
    Catalog, Listener, ListenerSetup, MakeError,
    resolved::Redactions,
    shield::{PanicMessage, shielded, shielded_future},
};
use crate::{
    bus::{Execution, Failure, event::Event},
    domain::{
        admission::{ClassVerdict, ConfigurationError},
        listener::ListenerSpec,
    },
};
use async_trait::async_trait;
use std::sync::Arc;

impl Catalog {
    /// Verdict on a listener that a command would add. A panic of the class is a mistake of the
    /// configuration.
    #[must_use]
    pub fn verdict(&self, listener: &ListenerSpec) -> ClassVerdict {
        let Some(class) = self.get(&listener.class) else {
            return ClassVerdict::Unknown { known: self.classes.keys().cloned().collect() };
        };
        let mut errors = super::secrets::refused_references(&listener.configuration);
        match shielded(|| class.validate(&listener.configuration)) {
            Ok(Ok(())) => {}
            Ok(Err(mistakes)) => errors.extend(mistakes),
            Err(PanicMessage(message)) => errors.push(ConfigurationError {
                pointer: String::new(),
                problem: format!(
                    "made class {} panic while it checked the configuration ({message}); this is a defect of the class",
                    listener.class
                ),
            }),
        }
        if errors.is_empty() { ClassVerdict::Accepted } else { ClassVerdict::Invalid(errors) }
    }

    /// Makes a listener, if the node knows the class. May block, because the code of the class and
    /// reading of secrets may. Neither an error nor a failure of the listener contains a resolved
    /// value.
    ///
    /// # Errors
    /// The reason why the listener cannot start. A panic of the class is one.
    #[must_use]
    pub fn make(&self, listener: &ListenerSpec) -> Option<Result<Arc<dyn Listener>, MakeError>> {
        let class = self.get(&listener.class)?;
        let configuration = match self.secrets.resolve(&listener.configuration) {
            Ok(configuration) => configuration,
            Err(errors) => return Some(Err(errors.into())),
        };
        let redactions = configuration.redactions();
        let setup = ListenerSetup { group: listener.group.clone(), configuration };
        Some(match shielded(|| class.make(setup)) {
            Ok(Ok(inner)) => Ok(Arc::new(RedactedListener { inner, redactions })),
            Ok(Err(error)) => Err(error.redacted(&redactions)),
            Err(PanicMessage(message)) => Err(MakeError::Panicked(redactions.redact(&message))),
        })
    }
}

impl MakeError {
    /// The error without secret values.
    fn redacted(self, redactions: &Redactions) -> Self {
        match self {
            Self::Secrets(_) => self,
            Self::InvalidConfiguration(errors) => {
                let redacted = errors.into_iter().map(|error| ConfigurationError {
                    problem: redactions.redact(&error.problem),
                    pointer: error.pointer,
                });
                Self::InvalidConfiguration(redacted.collect())
            }
            Self::Failed(cause) => Self::Failed(redactions.redact(&cause)),
            Self::Panicked(message) => Self::Panicked(redactions.redact(&message)),
        }
    }
}

/// A listener whose failures contain no secret value.
struct RedactedListener {
    inner: Arc<dyn Listener>,
    redactions: Arc<Redactions>,
}

#[async_trait]
impl Listener for RedactedListener {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        let redact = |cause: &str| self.redactions.redact(cause);
        match shielded_future(self.inner.on_event(event, execution)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(Failure::Transient(cause))) => Err(Failure::Transient(redact(&cause))),
            Ok(Err(Failure::Permanent(cause))) => Err(Failure::Permanent(redact(&cause))),
            Ok(Err(Failure::RetryAfter { cause, pause })) => {
                Err(Failure::RetryAfter { cause: redact(&cause), pause })
            }
            Err(PanicMessage(message)) => {
                Err(Failure::new(format!("the listener panicked: {}", redact(&message))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        bus::codec::decode,
        clock::Clock,
        domain::{listener::Configuration, name::ClassName},
        fixtures::listener,
        listeners::{Class, Source, secrets::SecretSources},
    };
    use serde_json::{Value, json};

    const PLANTED: &str = "pl4nted-v4lue";

    /// A class that shows its secret wherever it can.
    struct Talkative;

    impl Class for Talkative {
        fn description(&self) -> &'static str {
            "Shows its secret."
        }

        fn schema(&self) -> Value {
            json!({})
        }

        fn validate(&self, configuration: &Configuration) -> Result<(), Vec<ConfigurationError>> {
            assert!(!configuration.contains_key("unbearable"), "no such thing");
            Ok(())
        }

        fn make(&self, setup: ListenerSetup) -> Result<Arc<dyn Listener>, MakeError> {
            let secret = setup.configuration.expose()["secret"].as_str().unwrap().to_owned();
            let shown = format!("{setup:?} {secret}");
            match setup.group.as_str() {
                "panics" => panic!("{shown}"),
                "fails" => Err(MakeError::Failed(shown)),
                "refuses" => {
                    Err(vec![ConfigurationError { pointer: "/secret".to_owned(), problem: shown }]
                        .into())
                }
                way => Ok(Arc::new(Telling { way: way.to_owned(), secret })),
            }
        }
    }

    struct Telling {
        way: String,
        secret: String,
    }

    #[async_trait]
    impl Listener for Telling {
        async fn on_event(&self, _event: &Event, _execution: &Execution) -> Result<(), Failure> {
            tokio::task::yield_now().await;
            let cause = self.secret.clone();
            match self.way.as_str() {
                "gives-up" => Err(Failure::permanent(cause)),
                "breaks" => panic!("{cause}"),
                _ => Err(Failure::new(cause)),
            }
        }
    }

    fn spec(group: &str, configuration: Value) -> ListenerSpec {
        let mut spec = listener(group);
        spec.class = ClassName::parse("talkative").unwrap();
        spec.configuration = serde_json::from_value(configuration).unwrap();
        spec
    }

    fn catalog(directory: &tempfile::TempDir) -> Catalog {
        std::fs::write(directory.path().join("planted"), PLANTED).unwrap();
        Catalog::default()
            .with(ClassName::parse("talkative").unwrap(), Source::Library, Arc::new(Talkative))
            .with_secrets(SecretSources::new(Some(directory.path().into())))
    }

    #[tokio::test]
    async fn no_error_no_failure_and_no_panic_of_a_class_shows_a_resolved_value() {
        let directory = tempfile::tempdir().unwrap();
        let catalog = catalog(&directory);
        let secret = json!({"secret": {"file": "planted"}});
        for group in ["panics", "fails", "refuses"] {
            let error = catalog.make(&spec(group, secret.clone())).unwrap().err().unwrap();
            let shown = format!("{error} {error:?}");
            assert!(!shown.contains(PLANTED) && shown.contains("***"), "{shown}");
        }
        for group in ["gives-up", "breaks", "tries-again"] {
            let spec = spec(group, secret.clone());
            let listener = catalog.make(&spec).unwrap().unwrap();
            let execution = Execution::begin(&spec, 0, Clock::system().monotonic());
            let event = decode(None, br#"{"Added":{"eventId":"e"}}"#).unwrap();
            let failure = listener.on_event(&event, &execution).await.unwrap_err();
            let shown = format!("{failure} {failure:?}");
            assert!(!shown.contains(PLANTED) && shown.contains("***"), "{shown}");
        }
    }

    #[test]
    fn a_panic_of_a_check_and_a_forbidden_reference_are_mistakes_of_the_configuration() {
        let catalog = catalog(&tempfile::tempdir().unwrap());
        let forbidden = json!({"unbearable": 1, "a": {"env": "HEARKEN_AMQP_URL"}});
        let ClassVerdict::Invalid(errors) = catalog.verdict(&spec("a", forbidden)) else {
            panic!("the configuration is accepted");
        };
        assert_eq!(errors[0].pointer, "/a");
        assert!(errors[1].problem.contains("no such thing"), "{errors:?}");
    }
}
