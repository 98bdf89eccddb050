//! Consumers of groups on a stage, and their states.

use super::{
    PATIENCE, Stage,
    calls::Calls,
    specs::{bus, event},
};
use crate::support::{
    bus::{Dispatching as _, plain},
    wait,
};
use hearken::{
    bus::{Consumer, ConsumerState, Consumption, EventBus},
    domain::listener::ListenerSpec,
};
use std::sync::Arc;

impl Stage {
    /// What consumes the events of a listener.
    pub(crate) fn consumption(&self, listener: &ListenerSpec) -> Consumption {
        Consumption {
            listener: listener.clone(),
            bus: plain(&listener.bus),
            queue: self.queue(listener),
            draining: false,
        }
    }

    /// What consumes the events of a removed group's queue until the queue is empty.
    pub(crate) fn draining(&self, listener: &ListenerSpec) -> Consumption {
        Consumption { draining: true, ..self.consumption(listener) }
    }

    /// Runs a listener on a node's bus, and waits until it runs.
    pub(crate) async fn consume(
        &self,
        bus: &dyn EventBus,
        listener: &ListenerSpec,
        calls: &Arc<Calls>,
    ) -> Consumer {
        let consumer = bus.consume(self.consumption(listener), calls.clone());
        running(&consumer).await;
        consumer
    }

    /// Runs a listener on the bus of an embedded stage, and waits until it runs.
    pub(crate) async fn consume_here(
        &self,
        listener: &ListenerSpec,
        calls: &Arc<Calls>,
    ) -> Consumer {
        self.consume(&*self.local(), listener, calls).await
    }

    /// Publishes an event on the bus of an embedded stage. The event must reach a group.
    pub(crate) async fn dispatch_here(&self, id: &str) {
        self.local().dispatch(&bus(), &event(id), true).await.unwrap();
    }

    /// Stops a consumer once its queue is empty, so that its calls are complete.
    pub(crate) async fn drained(&self, listener: &ListenerSpec, consumer: Consumer) {
        self.left_with(listener, 0).await;
        consumer.stop.stop(PATIENCE).await;
        self.left_with(listener, 0).await;
    }
}

/// Waits until a consumer runs.
pub(crate) async fn running(consumer: &Consumer) {
    let mut state = consumer.state.clone();
    let runs = state.wait_for(|state| *state == ConsumerState::Running);
    tokio::time::timeout(wait::LIMIT, runs).await.expect("it runs").unwrap();
}

/// Waits until a consumer waits with a cause that contains `because`, and returns the cause.
pub(crate) async fn waiting(consumer: &Consumer, because: &str) -> String {
    let mut state = consumer.state.clone();
    let waits = state.wait_for(
        |state| matches!(state, ConsumerState::Waiting(cause) if cause.contains(because)),
    );
    let state = tokio::time::timeout(wait::LIMIT, waits).await.expect("it waits");
    match &*state.unwrap() {
        ConsumerState::Waiting(cause) => cause.clone(),
        ConsumerState::Running => unreachable!("it waits"),
    }
}
