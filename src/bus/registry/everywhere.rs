//! The synchronous every-node listeners of this node on one bus: dispatching here waits for them.

use crate::{
    bus::{
        Execution, Handler,
        event::Event,
        run::{contained, handle, nested},
    },
    domain::listener::Listener,
};
use futures_util::future::join_all;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// The listeners that run inline. Cheap to clone.
#[derive(Clone, Default)]
pub struct Everywhere {
    runners: Arc<Mutex<Vec<Arc<Runner>>>>,
}

struct Runner {
    listener: Listener,
    handler: Arc<dyn Handler>,
    slots: Arc<Semaphore>,
}

/// A listener's place among them, as long as it is held.
pub struct Place {
    everywhere: Everywhere,
    runner: Arc<Runner>,
}

impl Everywhere {
    fn runners(&self) -> MutexGuard<'_, Vec<Arc<Runner>>> {
        self.runners.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a listener. `slots` are its executions, shared with whatever else runs it.
    #[must_use]
    pub fn enter(
        &self,
        listener: Listener,
        handler: Arc<dyn Handler>,
        slots: Arc<Semaphore>,
    ) -> Place {
        let runner = Arc::new(Runner { listener, handler, slots });
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
            let execution = Execution::begin(&self.listener, 0);
            handle(self.handler.as_ref(), event, &execution).await
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
