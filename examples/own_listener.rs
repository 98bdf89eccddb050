//! A program of your own, with a listener class of its own.
//!
//! It is `hearken` in every other respect: the same commands, flags and interfaces. Each node that
//! runs this program requires the listener `own-counter`, adds it where it is missing, and refuses
//! to have it removed. Nodes that run plain `hearken` beside it say that they do not know the
//! class, and leave its events to the nodes that do.
//!
//! ```sh
//! cargo run --example own_listener -- serve
//! ```

use async_trait::async_trait;
use hearken::{
    bus::{Execution, Failure, KeyListener, event::Event},
    cli::{self, serve::Extras},
    dispatch::Dispatcher,
    domain::{
        admission::ConfigurationError,
        listener::{Configuration, ListenerSpec},
        name::{BusName, ClassName, RegistrationKey},
    },
    listeners::{Catalog, Class, Listener, ListenerSetup, MakeError, Source, settings::Reader},
};
use serde_json::{Value, json};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::ExitCode,
    sync::{Arc, Mutex, PoisonError},
};

/// Counts events by user.
struct Counter;

/// The setting `only`: the type of events that counts. All, where it is not given.
fn only(configuration: &Configuration) -> Result<Option<String>, Vec<ConfigurationError>> {
    let mut reader = Reader::new(configuration);
    let only = reader.field("only", |value| {
        let text = value.as_str().ok_or("is not a text; it is a type of events")?;
        Ok(text.to_owned())
    });
    reader.finish()?;
    Ok(only)
}

impl Class for Counter {
    fn description(&self) -> &'static str {
        "Counts events by user."
    }

    fn schema(&self) -> Value {
        json!({
            "type": "object",
            "additionalProperties": false,
            "properties": {"only": {"type": "string", "description": "The type that counts."}}
        })
    }

    fn validate(&self, configuration: &Configuration) -> Result<(), Vec<ConfigurationError>> {
        only(configuration).map(|_| ())
    }

    fn make(&self, setup: ListenerSetup) -> Result<Arc<dyn Listener>, MakeError> {
        let only = only(setup.configuration.expose())?;
        Ok(Arc::new(Counting { only, seen: Mutex::default() }))
    }
}

/// One listener of that class. It is called again with the same event after a failure or the loss
/// of a node; a counter that must not count twice would remember the ids it has seen.
struct Counting {
    only: Option<String>,
    seen: Mutex<BTreeMap<String, u64>>,
}

#[async_trait]
impl Listener for Counting {
    async fn on_event(&self, event: &Event, _: &Execution) -> Result<(), Failure> {
        if self.only.as_ref().is_some_and(|only| *only != event.kind) {
            return Ok(());
        }
        let user = event.user.clone().unwrap_or_else(|| "an unknown user".to_owned());
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(user.clone()).or_default();
        *count += 1;
        tracing::info!(%user, count, "{user} has {count} events");
        Ok(())
    }
}

/// What this program adds to hearken: the class, and a listener of it that every node requires.
fn extras() -> Extras {
    let name = ClassName::parse("own-counter").expect("the name is a name");
    let catalog = Catalog::default().with(name, Source::Library, Arc::new(Counter));
    let required = json!({"group": "own-counter", "class": "own-counter", "bus": "mailboxEvent"});
    let required: ListenerSpec =
        serde_json::from_value(required).expect("the listener is complete");
    Extras { catalog, required: vec![required], started: Some(Arc::new(follow)) }
}

/// Called once the node runs. Through what it is given here a program dispatches events of its
/// own, and follows keys: this one hears of each event that is dispatched with the key `counter`.
fn follow(dispatcher: &Dispatcher) {
    let bus = BusName::parse("mailboxEvent").expect("the name is a name");
    let keys = [RegistrationKey::parse("counter").expect("the key is a key")].into();
    match dispatcher.register(&bus, keys, Arc::new(Told)) {
        // It is told as long as the registration is held: here until the program ends.
        Ok(registration) => std::mem::forget(registration),
        Err(error) => tracing::warn!(%error, "nothing can be followed: {error}"),
    }
}

/// Says what it is told.
struct Told;

#[async_trait]
impl KeyListener for Told {
    async fn on_notification(
        &self,
        event: &Event,
        _: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure> {
        tracing::info!(event = event.id, "told of event {}", event.id);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(extras()).await
}
