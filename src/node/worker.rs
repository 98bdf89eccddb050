//! One listener on this node.

use crate::{
    bus::{Consumer, ConsumerState, Execution, Failure, Listener, event::Event},
    domain::{
        listener::ListenerSpec,
        report::{ListenerState, ListenerStatus},
    },
    listeners::{Catalog, ListenerSetup, secrets},
    metrics::Metrics,
};
use async_trait::async_trait;
use std::{sync::Arc, time::Instant};
use time::OffsetDateTime;

/// What a supervisor holds of a listener.
pub(super) struct Worker {
    pub(super) listener: ListenerSpec,
    pub(super) draining: bool,
    pub(super) consumer: Option<Consumer>,
    pub(super) status: ListenerStatus,
    /// When to try again to make it.
    pub(super) retry_at: Instant,
}

impl Worker {
    pub(super) fn new(listener: ListenerSpec, draining: bool, now: OffsetDateTime) -> Self {
        let status = ListenerStatus {
            group: listener.group.clone(),
            class: listener.class.clone(),
            state: ListenerState::Starting,
            cause: None,
            since: now,
        };
        Self { listener, draining, consumer: None, status, retry_at: Instant::now() }
    }

    /// Takes over how its consumer is doing. Returns whether it stopped running just now.
    pub(super) fn refresh(&mut self, now: OffsetDateTime) -> bool {
        let Some(consumer) = &self.consumer else { return false };
        let before = self.status.state;
        let state = consumer.state.borrow().clone();
        match state {
            ConsumerState::Running => self.enter(ListenerState::Running, None, now),
            ConsumerState::Waiting(cause) => self.enter(ListenerState::Starting, Some(cause), now),
        }
        before == ListenerState::Running && self.status.state != ListenerState::Running
    }

    /// Enters a state. `since` changes with the state, not with the cause.
    pub(super) fn enter(
        &mut self,
        state: ListenerState,
        cause: Option<String>,
        now: OffsetDateTime,
    ) {
        if self.status.state != state {
            self.status.state = state;
            self.status.since = now;
        }
        self.status.cause = cause;
    }

    /// Makes the listener, or says why not.
    pub(super) fn make(
        &self,
        catalog: &Catalog,
    ) -> Result<Arc<dyn Listener>, (ListenerState, String)> {
        let ListenerSpec { class, group, configuration, .. } = &self.listener;
        let Some(class) = catalog.get(class) else {
            let cause = format!("this node knows no class {class}");
            return Err((ListenerState::UnknownClass, cause));
        };
        let failed = |cause| (ListenerState::Failed, cause);
        let configuration = secrets::resolve(configuration).map_err(failed)?;
        class.make(ListenerSetup { group: group.clone(), configuration }).map_err(failed)
    }
}

/// A listener whose executions are counted.
pub(super) struct Counted {
    pub(super) listener: Arc<dyn Listener>,
    pub(super) metrics: Arc<Metrics>,
}

#[async_trait]
impl Listener for Counted {
    async fn on_event(&self, event: &Event, execution: &Execution) -> Result<(), Failure> {
        let running = self.metrics.execution(
            &execution.bus,
            &execution.group,
            execution.attempt,
            execution.first_failed_at.or(execution.published_at),
        );
        let result = self.listener.on_event(event, execution).await;
        if result.is_ok() {
            running.handled();
        }
        result
    }
}
