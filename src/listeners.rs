//! Classes of listeners: the catalog of the classes that a node knows, and the built-in classes.
//!
//! # A class of your own
//! A [`Class`] checks a configuration before the roster takes it, and makes [`Listener`]s from it.
//! A program that uses the library puts its classes into a [`Catalog`].
//!
//! ```
//! use async_trait::async_trait;
//! use hearken::{
//!     bus::{Execution, Failure, event::Event},
//!     domain::{admission::ConfigurationError, listener::Configuration, name::ClassName},
//!     listeners::{Catalog, Class, Listener, ListenerSetup, MakeError, Source, settings::Reader},
//! };
//! use serde_json::{Value, json};
//! use std::{collections::BTreeMap, sync::{Arc, Mutex}};
//!
//! /// Counts events by user: all events, or the events of one type.
//! struct Counter;
//!
//! fn only(configuration: &Configuration) -> Result<Option<String>, Vec<ConfigurationError>> {
//!     let mut reader = Reader::new(configuration);
//!     let only = reader.field("only", |value| {
//!         let text = value.as_str().ok_or("is not a text; it must be a type of events")?;
//!         Ok(text.to_owned())
//!     });
//!     reader.finish()?;
//!     Ok(only)
//! }
//!
//! impl Class for Counter {
//!     fn description(&self) -> &str {
//!         "Counts events by user."
//!     }
//!
//!     fn schema(&self) -> Value {
//!         json!({
//!             "type": "object",
//!             "additionalProperties": false,
//!             "properties": {"only": {"type": "string", "description": "The type that counts."}}
//!         })
//!     }
//!
//!     fn validate(&self, configuration: &Configuration) -> Result<(), Vec<ConfigurationError>> {
//!         only(configuration).map(|_| ())
//!     }
//!
//!     fn make(&self, setup: ListenerSetup) -> Result<Arc<dyn Listener>, MakeError> {
//!         let only = only(setup.configuration.expose())?;
//!         Ok(Arc::new(Counting { only, seen: Mutex::default() }))
//!     }
//! }
//!
//! struct Counting {
//!     only: Option<String>,
//!     seen: Mutex<BTreeMap<String, u64>>,
//! }
//!
//! #[async_trait]
//! impl Listener for Counting {
//!     async fn on_event(&self, event: &Event, _: &Execution) -> Result<(), Failure> {
//!         if self.only.as_ref().is_some_and(|only| *only != event.kind) {
//!             return Ok(());
//!         }
//!         let Some(user) = &event.user else {
//!             return Err(Failure::new("the event is about no user"));
//!         };
//!         let mut seen = self.seen.lock().map_err(|_| Failure::new("a count was interrupted"))?;
//!         *seen.entry(user.clone()).or_default() += 1;
//!         Ok(())
//!     }
//! }
//!
//! let name = ClassName::parse("counter")?;
//! let catalog = Catalog::default().with(name.clone(), Source::Library, Arc::new(Counter));
//! let class = catalog.get(&name).ok_or("the class was just added")?;
//! let wrong = serde_json::from_value(json!({"only": 3}))?;
//! assert_eq!(class.validate(&wrong).unwrap_err()[0].pointer, "/only");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod check;
pub mod log;
mod make;
mod resolved;
pub mod secrets;
pub mod settings;
mod shield;
pub mod webhook;

pub use crate::bus::Listener;
pub use resolved::{REDACTED, Redactions, ResolvedConfiguration};
pub use shield::hide_panic_messages_of_classes;

use crate::{
    clock::Clock,
    domain::{
        admission::ConfigurationError,
        listener::Configuration,
        name::{ClassName, GroupName},
    },
};
use secrets::{SecretErrors, SecretSources};
use serde::Serialize;
use serde_json::Value;
use std::{collections::BTreeMap, sync::Arc};
use tokio::sync::Semaphore;
use webhook::policy::WebhookPolicy;

/// Origin of a class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The class is part of hearken.
    BuiltIn,
    /// The class was compiled in by a program that uses the library.
    Library,
}

/// Settings from which a class makes a listener.
#[derive(Debug, Clone)]
pub struct ListenerSetup {
    /// Group of the listener.
    pub group: GroupName,
    /// Configuration of the listener, with every `{"env": …}` and `{"file": …}` resolved on this
    /// node.
    pub configuration: ResolvedConfiguration,
}

/// Reason why a class cannot make a listener, for an operator.
#[derive(Debug, thiserror::Error)]
pub enum MakeError {
    /// Values that the configuration names cannot be read on this node.
    #[error(transparent)]
    Secrets(#[from] SecretErrors),
    /// The resolved configuration is not valid.
    #[error("{}", settings::sentence(.0))]
    InvalidConfiguration(Vec<ConfigurationError>),
    /// The node lacks something that the listener needs.
    #[error("{0}")]
    Failed(String),
    /// The class panicked. The text is the message of the panic.
    #[error("the class panicked while it made the listener: {0}; this is a defect of the class")]
    Panicked(String),
}

impl From<Vec<ConfigurationError>> for MakeError {
    fn from(errors: Vec<ConfigurationError>) -> Self {
        Self::InvalidConfiguration(errors)
    }
}

/// A class of listeners.
pub trait Class: Send + Sync + 'static {
    /// Description of the class, in one sentence.
    fn description(&self) -> &str;

    /// JSON Schema of the configuration.
    fn schema(&self) -> Value;

    /// Checks a configuration before it is accepted into the roster. References to the environment
    /// and to files are not resolved here, because another node may run the listener.
    ///
    /// # Errors
    /// Every mistake.
    fn validate(&self, configuration: &Configuration) -> Result<(), Vec<ConfigurationError>>;

    /// Makes a listener. After an error it is called again, after a pause.
    ///
    /// # Errors
    /// The reason why the listener cannot start.
    fn make(&self, setup: ListenerSetup) -> Result<Arc<dyn Listener>, MakeError>;
}

/// The built-in classes: `log` and `webhook`.
#[must_use]
#[expect(clippy::missing_panics_doc, reason = "the names are constants that a test parses")]
pub fn built_in(policy: WebhookPolicy, clock: Clock) -> Catalog {
    let name = |text| ClassName::parse(text).expect("the built-in names are names");
    Catalog::default().with(name("log"), Source::BuiltIn, Arc::new(log::Log)).with(
        name("webhook"),
        Source::BuiltIn,
        Arc::new(webhook::Webhook::new(policy, clock)),
    )
}

/// A class in a catalog.
#[derive(Clone)]
struct CatalogEntry {
    source: Source,
    class: Arc<dyn Class>,
    /// Places for the checks of configurations that run at the same time.
    checks: Arc<Semaphore>,
}

/// The classes that a node knows.
#[derive(Clone, Default)]
pub struct Catalog {
    classes: BTreeMap<ClassName, CatalogEntry>,
    secrets: SecretSources,
}

impl Catalog {
    /// Adds a class. A class of the same name is replaced.
    #[must_use]
    pub fn with(mut self, name: ClassName, source: Source, class: Arc<dyn Class>) -> Self {
        let checks = Arc::new(Semaphore::new(check::AT_ONCE));
        self.classes.insert(name, CatalogEntry { source, class, checks });
        self
    }

    /// Sets where the references of configurations are looked up.
    #[must_use]
    pub fn with_secrets(mut self, secrets: SecretSources) -> Self {
        self.secrets = secrets;
        self
    }

    /// Where the references of configurations are looked up.
    #[must_use]
    pub fn secrets(&self) -> &SecretSources {
        &self.secrets
    }

    /// Adds the classes of another catalog. They replace classes of the same name.
    #[must_use]
    pub fn merged(mut self, other: &Self) -> Self {
        self.classes
            .extend(other.classes.iter().map(|(name, entry)| (name.clone(), entry.clone())));
        self
    }

    /// The classes by name.
    pub fn iter(&self) -> impl Iterator<Item = (&ClassName, Source, &Arc<dyn Class>)> {
        self.classes.iter().map(|(name, entry)| (name, entry.source, &entry.class))
    }

    /// The class of this name, if the node knows it.
    #[must_use]
    pub fn get(&self, name: &ClassName) -> Option<&Arc<dyn Class>> {
        self.classes.get(name).map(|entry| &entry.class)
    }
}
