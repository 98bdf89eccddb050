//! The synchronous every-node listeners of this node on one bus: dispatching here waits for them.

use crate::{
    bus::{
        Execution, Failure, Listener,
        contain::{contained, execute, nested},
        event::Event,
    },
    clock::Clock,
    domain::listener::ListenerSpec,
};
use futures_util::future::join_all;
use parking_lot::{Mutex, MutexGuard};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The listeners that run inline. Cheap to clone.
#[derive(Clone, Default)]
pub struct Everywhere {
    runners: Arc<Mutex<Vec<Arc<Runner>>>>,
}

struct Runner {
    listener: ListenerSpec,
    handler: Arc<dyn Listener>,
    slots: Arc<Semaphore>,
    abort: CancellationToken,
}

/// A listener's place among them, as long as it is held.
pub struct Place {
    everywhere: Everywhere,
    runner: Arc<Runner>,
}

impl Everywhere {
    fn runners(&self) -> MutexGuard<'_, Vec<Arc<Runner>>> {
        self.runners.lock()
    }

    /// Adds a listener. `slots` are its executions, shared with whatever else runs it: all are free
    /// when nothing runs. `abort` gives up those that run.
    #[must_use]
    pub fn enter(
        &self,
        listener: ListenerSpec,
        handler: Arc<dyn Listener>,
        slots: Arc<Semaphore>,
        abort: CancellationToken,
    ) -> Place {
        let runner = Arc::new(Runner { listener, handler, slots, abort });
        self.runners().push(Arc::clone(&runner));
        Place { everywhere: self.clone(), runner }
    }

    /// Runs each listener, all at once, and returns when every one has run or its own time is
    /// over. What fails is logged, since an every-node listener gets an event once.
    pub async fn call(&self, event: &Event) {
        let runners = self.runners().clone();
        if !event.noop {
            join_all(runners.iter().map(|runner| runner.call(event))).await;
        }
    }
}

impl Runner {
    async fn call(&self, event: &Event) {
        let nested = nested();
        let running = async {
            // The semaphore is never closed.
            let _slot = if nested { None } else { self.slots.acquire().await.ok() };
            let cancelled = self.abort.child_token();
            let execution = Execution {
                cancelled,
                ..Execution::begin(&self.listener, 0, Clock::system().monotonic())
            };
            let running = execute(self.handler.as_ref(), event, &execution);
            let stopped = || Err(Failure::new("the listener was stopped"));
            self.abort.run_until_cancelled(running).await.unwrap_or_else(stopped)
        };
        let Err(failure) = contained(self.listener.timeout, running).await else { return };
        let (group, id, cause) = (&self.listener.group, event.id.as_str(), failure.to_string());
        tracing::warn!(
            group = group.as_str(),
            event = id,
            cause,
            "group {group} failed on event {id}, which every node gets once: {cause}"
        );
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.everywhere.runners().retain(|other| !Arc::ptr_eq(other, &self.runner));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::event, *};
    use crate::fixtures::listener;
    use async_trait::async_trait;
    use std::time::Duration;
    use tokio::time::timeout;

    /// Remembers its events, and dispatches the one that says so once more.
    #[derive(Default)]
    struct Recorder {
        ids: Mutex<Vec<String>>,
        everywhere: Everywhere,
    }

    impl Recorder {
        fn ids(&self) -> Vec<String> {
            self.ids.lock().clone()
        }
    }

    #[async_trait]
    impl Listener for Recorder {
        async fn on_event(&self, one: &Event, _: &Execution) -> Result<(), Failure> {
            self.ids.lock().push(one.id.clone());
            match one.kind.as_str() {
                "Fails" => Err(Failure::new("it broke")),
                "Panics" => panic!("on purpose"),
                "Dispatches" => {
                    self.everywhere.call(&event("inner", "Any")).await;
                    Ok(())
                }
                _ => Ok(()),
            }
        }
    }

    fn one_at_a_time(recorder: &Arc<Recorder>) -> Place {
        let handler = Arc::clone(recorder) as Arc<dyn Listener>;
        let slots = Arc::new(Semaphore::new(1));
        recorder.everywhere.enter(listener("g"), handler, slots, CancellationToken::new())
    }

    #[tokio::test]
    async fn listeners_run_inline_as_long_as_they_have_a_place() {
        let recorder = Arc::new(Recorder::default());
        let place = one_at_a_time(&recorder);
        for (id, kind) in [("1", "Fails"), ("2", "Panics"), ("3", "Any")] {
            recorder.everywhere.call(&event(id, kind)).await;
        }
        assert_eq!(recorder.ids(), ["1", "2", "3"]);
        drop(place);
        recorder.everywhere.call(&event("4", "Any")).await;
        assert_eq!(recorder.ids(), ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn a_listener_that_dispatches_does_not_wait_for_its_own_place() {
        let recorder = Arc::new(Recorder::default());
        let _place = one_at_a_time(&recorder);
        let outer = event("outer", "Dispatches");
        timeout(Duration::from_secs(10), recorder.everywhere.call(&outer)).await.unwrap();
        assert_eq!(recorder.ids(), ["outer", "inner"]);
    }
}
