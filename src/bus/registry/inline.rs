//! Synchronous every-node listeners of this node on one bus. A dispatch on this node runs them and
//! waits for them.

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

/// The listeners that a dispatch runs inline. Cheap to clone.
#[derive(Clone)]
pub struct InlineListeners {
    runners: Arc<Mutex<Vec<Arc<InlineRunner>>>>,
    clock: Clock,
}

struct InlineRunner {
    spec: ListenerSpec,
    listener: Arc<dyn Listener>,
    slots: Arc<Semaphore>,
    abort: CancellationToken,
}

/// Guard of an inline listener, which runs until the guard is dropped.
pub struct RegisteredInline {
    inline: InlineListeners,
    runner: Arc<InlineRunner>,
}

impl InlineListeners {
    /// No listeners yet.
    #[must_use]
    pub fn new(clock: &Clock) -> Self {
        Self { runners: Arc::default(), clock: clock.clone() }
    }

    fn runners(&self) -> MutexGuard<'_, Vec<Arc<InlineRunner>>> {
        self.runners.lock()
    }

    /// Adds a listener. Each execution takes one of the `slots`, which other executions of the
    /// listener share: all slots are free when the listener does not run. `abort` gives up the
    /// running executions.
    #[must_use]
    pub fn register(
        &self,
        spec: ListenerSpec,
        listener: Arc<dyn Listener>,
        slots: Arc<Semaphore>,
        abort: CancellationToken,
    ) -> RegisteredInline {
        let runner = Arc::new(InlineRunner { spec, listener, slots, abort });
        self.runners().push(Arc::clone(&runner));
        RegisteredInline { inline: self.clone(), runner }
    }

    /// Runs each listener, all at once, and returns when each has run or its time is over. A
    /// failure is logged and has no other effect, because an every-node listener gets an event only
    /// once.
    pub async fn call(&self, event: &Event) {
        let runners = self.runners().clone();
        if !event.noop {
            join_all(runners.iter().map(|runner| runner.call(event, &self.clock))).await;
        }
    }
}

impl InlineRunner {
    async fn call(&self, event: &Event, clock: &Clock) {
        let nested = nested();
        let running = async {
            // The semaphore is never closed.
            let _slot = if nested { None } else { self.slots.acquire().await.ok() };
            let cancelled = self.abort.child_token();
            let execution =
                Execution { cancelled, ..Execution::begin(&self.spec, 0, clock.monotonic()) };
            let running = execute(self.listener.as_ref(), event, &execution);
            let stopped = || Err(Failure::new("the listener was stopped"));
            self.abort.run_until_cancelled(running).await.unwrap_or_else(stopped)
        };
        let Err(failure) = contained(self.spec.timeout, running).await else { return };
        let (group, id, cause) = (&self.spec.group, event.id.as_str(), failure.to_string());
        tracing::warn!(
            group = group.as_str(),
            event = id,
            cause,
            "group {group} failed on event {id}; an every-node listener gets an event only once, so the event does not run again: {cause}"
        );
    }
}

impl Drop for RegisteredInline {
    fn drop(&mut self) {
        self.inline.runners().retain(|other| !Arc::ptr_eq(other, &self.runner));
    }
}

#[cfg(test)]
mod tests {
    use super::{super::tests::event, *};
    use crate::fixtures::listener;
    use async_trait::async_trait;
    use std::time::Duration;
    use tokio::time::timeout;

    /// Remembers its events, and dispatches another event when its event says so.
    struct Recorder {
        ids: Mutex<Vec<String>>,
        inline: InlineListeners,
    }

    impl Recorder {
        fn new() -> Arc<Self> {
            let inline = InlineListeners::new(&Clock::system());
            Arc::new(Self { ids: Mutex::default(), inline })
        }

        fn ids(&self) -> Vec<String> {
            self.ids.lock().clone()
        }
    }

    #[async_trait]
    impl Listener for Recorder {
        async fn on_event(&self, outer: &Event, _: &Execution) -> Result<(), Failure> {
            self.ids.lock().push(outer.id.clone());
            match outer.kind.as_str() {
                "Fails" => Err(Failure::new("it broke")),
                "Panics" => panic!("on purpose"),
                "Dispatches" => {
                    self.inline.call(&event("inner", "Any")).await;
                    Ok(())
                }
                _ => Ok(()),
            }
        }
    }

    fn with_one_slot(recorder: &Arc<Recorder>) -> RegisteredInline {
        let running = Arc::clone(recorder) as Arc<dyn Listener>;
        let slots = Arc::new(Semaphore::new(1));
        recorder.inline.register(listener("g"), running, slots, CancellationToken::new())
    }

    #[tokio::test]
    async fn a_listener_runs_inline_until_its_guard_is_dropped() {
        let recorder = Recorder::new();
        let guard = with_one_slot(&recorder);
        for (id, kind) in [("1", "Fails"), ("2", "Panics"), ("3", "Any")] {
            recorder.inline.call(&event(id, kind)).await;
        }
        assert_eq!(recorder.ids(), ["1", "2", "3"]);
        drop(guard);
        recorder.inline.call(&event("4", "Any")).await;
        assert_eq!(recorder.ids(), ["1", "2", "3"]);
    }

    #[tokio::test]
    async fn a_listener_that_dispatches_does_not_wait_for_its_own_slot() {
        let recorder = Recorder::new();
        let _guard = with_one_slot(&recorder);
        let outer = event("outer", "Dispatches");
        timeout(Duration::from_secs(10), recorder.inline.call(&outer)).await.unwrap();
        assert_eq!(recorder.ids(), ["outer", "inner"]);
    }
}
