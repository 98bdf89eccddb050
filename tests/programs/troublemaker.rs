//! A node for tests, whose listener classes and whose own loop misbehave on purpose.
//!
//! The program uses the library as any other program does. It is `hearken` in every other respect.

use async_trait::async_trait;
use hearken::{
    background,
    bus::{Execution, Failure, KeyListener, event::Event},
    cli::{self, serve::Extras},
    dispatch::Dispatcher,
    domain::{
        admission::ConfigurationError,
        listener::Configuration,
        name::{BusName, ClassName, RegistrationKey},
    },
    listeners::{Catalog, Class, Listener, ListenerSetup, MakeError, Source},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, future::pending, process::ExitCode, sync::Arc, thread};
use tokio::sync::Notify;

/// Where a class misbehaves, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    HangsInCheck,
    PanicsInMake,
    HangsInMake,
    PanicsInExecution,
    HangsInExecution,
    PanicsInDrop,
}

const CLASSES: [(&str, Trouble); 6] = [
    ("hangs-in-check", Trouble::HangsInCheck),
    ("panics-in-make", Trouble::PanicsInMake),
    ("hangs-in-make", Trouble::HangsInMake),
    ("panics-in-execution", Trouble::PanicsInExecution),
    ("hangs-in-execution", Trouble::HangsInExecution),
    ("panics-in-drop", Trouble::PanicsInDrop),
];

fn hang() -> ! {
    loop {
        thread::park();
    }
}

impl Class for Trouble {
    fn description(&self) -> &'static str {
        "Misbehaves."
    }

    fn schema(&self) -> Value {
        json!({"type": "object"})
    }

    fn validate(&self, _configuration: &Configuration) -> Result<(), Vec<ConfigurationError>> {
        match self {
            Self::HangsInCheck => hang(),
            _ => Ok(()),
        }
    }

    fn make(&self, _setup: ListenerSetup) -> Result<Arc<dyn Listener>, MakeError> {
        match self {
            Self::PanicsInMake => panic!("cannot be made"),
            Self::HangsInMake => hang(),
            _ => Ok(Arc::new(Troubled(*self))),
        }
    }
}

struct Troubled(Trouble);

#[async_trait]
impl Listener for Troubled {
    async fn on_event(&self, _event: &Event, _execution: &Execution) -> Result<(), Failure> {
        match self.0 {
            Trouble::PanicsInExecution => panic!("cannot be executed"),
            Trouble::HangsInExecution => pending().await,
            _ => Ok(()),
        }
    }
}

impl Drop for Troubled {
    fn drop(&mut self) {
        assert!(self.0 != Trouble::PanicsInDrop, "cannot be dropped");
    }
}

/// A key listener. An event with the key `break` breaks the loop of this program.
struct Breaker(Arc<Notify>);

#[async_trait]
impl KeyListener for Breaker {
    async fn on_notification(
        &self,
        _event: &Event,
        _keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure> {
        self.0.notify_one();
        Ok(())
    }
}

/// A key listener that never returns.
struct Stuck;

#[async_trait]
impl KeyListener for Stuck {
    async fn on_notification(
        &self,
        _event: &Event,
        _keys: &BTreeSet<RegistrationKey>,
    ) -> Result<(), Failure> {
        pending().await
    }
}

fn started(dispatcher: &Dispatcher) {
    let bus = BusName::parse("mailboxEvent").expect("the name is a name");
    let told = Arc::new(Notify::new());
    let listeners: [(&str, Arc<dyn KeyListener>); 2] =
        [("break", Arc::new(Breaker(Arc::clone(&told)))), ("stuck", Arc::new(Stuck))];
    for (key, listener) in listeners {
        let keys = [RegistrationKey::parse(key).expect("the key is a key")].into();
        let registration = dispatcher.register(&bus, keys, listener);
        // The program follows the key until it ends.
        std::mem::forget(registration.expect("the bus exists"));
    }
    let looping = background::spawn_loop("the loop of the troublemaker", async move {
        told.notified().await;
        panic!("broken on purpose");
    });
    drop(looping);
}

fn extras() -> Extras {
    let mut catalog = Catalog::default();
    for (name, trouble) in CLASSES {
        let name = ClassName::parse(name).expect("the name is a name");
        catalog = catalog.with(name, Source::Library, Arc::new(trouble));
    }
    Extras { catalog, required: Vec::new(), started: Some(Arc::new(started)) }
}

#[tokio::main]
async fn main() -> ExitCode {
    cli::run(extras()).await
}
