//! Checks of configurations by their classes, within a limit of time.
//!
//! A class may block or never return. A check runs in a thread of its own, so that it delays no
//! other request.

use super::Catalog;
use crate::domain::{
    admission::{ClassVerdict, ConfigurationError},
    listener::ListenerSpec,
};
use std::{sync::Arc, thread, time::Duration};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, oneshot},
};

/// Time that a class has to check a configuration.
const LIMIT: Duration = Duration::from_secs(5);
/// Number of checks of one class that run at the same time. A check that never returns keeps its
/// place, so a class holds at most this many threads.
pub(super) const AT_ONCE: usize = 8;

impl Catalog {
    /// Verdict on a listener that a command would add or change, after five seconds at the latest.
    /// A class that has not answered by then refuses the configuration.
    pub async fn verdict_in_time(&self, listener: &ListenerSpec) -> ClassVerdict {
        self.verdict_within(LIMIT, listener).await
    }

    async fn verdict_within(&self, limit: Duration, listener: &ListenerSpec) -> ClassVerdict {
        let Some(entry) = self.classes.get(&listener.class) else {
            return self.verdict(listener);
        };
        let checks = Arc::clone(&entry.checks);
        let checking = async {
            let place = checks.acquire_owned().await.ok()?;
            self.verdict_of_thread(listener.clone(), place).await
        };
        let problem = match tokio::time::timeout(limit, checking).await {
            Ok(Some(verdict)) => return verdict,
            Ok(None) => "no thread can be started for the check; try again in a moment".to_owned(),
            Err(_) => format!(
                "the check did not finish within {limit:?}; this is a defect of the class, or the machine is overloaded"
            ),
        };
        ClassVerdict::Invalid(vec![ConfigurationError { pointer: String::new(), problem }])
    }

    /// Asks the class in a new thread. `None` when no thread can be started.
    async fn verdict_of_thread(
        &self,
        listener: ListenerSpec,
        place: OwnedSemaphorePermit,
    ) -> Option<ClassVerdict> {
        let (catalog, runtime) = (self.clone(), Handle::current());
        let (done, verdict) = oneshot::channel();
        let check = move || {
            // Classes may start tasks.
            let _entered = runtime.enter();
            // The request that asked may be over.
            let _ = done.send(catalog.verdict(&listener));
            drop(place);
        };
        thread::Builder::new().name("check".to_owned()).spawn(check).ok()?;
        verdict.await.ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{listener::Configuration, name::ClassName},
        fixtures::listener,
        listeners::{Class, Listener, ListenerSetup, MakeError, Source},
    };
    use serde_json::{Value, json};

    /// A class whose check ends only for the configuration `{}`.
    struct Hanging;

    impl Class for Hanging {
        fn description(&self) -> &'static str {
            "Hangs."
        }

        fn schema(&self) -> Value {
            json!({})
        }

        fn validate(&self, configuration: &Configuration) -> Result<(), Vec<ConfigurationError>> {
            while !configuration.is_empty() {
                thread::park();
            }
            Ok(())
        }

        fn make(&self, _setup: ListenerSetup) -> Result<Arc<dyn Listener>, MakeError> {
            Err(MakeError::Failed("is never made".to_owned()))
        }
    }

    #[tokio::test]
    async fn a_check_that_hangs_is_refused_in_time_and_takes_no_other_check_along() {
        let name = ClassName::parse("hanging").unwrap();
        let catalog = Catalog::default().with(name.clone(), Source::Library, Arc::new(Hanging));
        let well = ListenerSpec { class: name, ..listener("a") };
        let mut hangs = well.clone();
        hangs.configuration.insert("hang".to_owned(), json!(true));
        for hanging in 0..=AT_ONCE {
            let verdict = catalog.verdict_within(Duration::from_millis(20), &hangs).await;
            let ClassVerdict::Invalid(errors) = verdict else { panic!("{verdict:?}") };
            assert!(
                errors[0].problem.contains("did not finish within 20ms"),
                "{hanging} {errors:?}"
            );
        }
        let entry = catalog.classes.values().next().unwrap();
        assert_eq!(entry.checks.available_permits(), 0, "each thread keeps its place");
    }

    #[tokio::test]
    async fn a_check_that_ends_gives_its_place_back() {
        let name = ClassName::parse("hanging").unwrap();
        let catalog = Catalog::default().with(name.clone(), Source::Library, Arc::new(Hanging));
        let well = ListenerSpec { class: name, ..listener("a") };
        for _ in 0..=AT_ONCE {
            assert_eq!(catalog.verdict_in_time(&well).await, ClassVerdict::Accepted);
        }
    }
}
