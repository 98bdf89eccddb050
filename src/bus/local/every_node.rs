//! Every-node listeners: each runs an event once in this process, at most once.

use super::ending::Ending;
use crate::{
    bus::{
        ConsumerState, Consumption, Execution, Listener,
        contain::{contained, execute},
        event::Event,
        registry::InlineListeners,
    },
    clock::Clock,
    domain::listener::ListenerSpec,
};
use std::{future::Future, sync::Arc};
use tokio::{
    sync::{
        Semaphore,
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// An asynchronous every-node listener.
pub(super) struct EveryNode {
    pub(super) consumption: Consumption,
    pub(super) listener: Arc<dyn Listener>,
    pub(super) clock: Clock,
}

impl EveryNode {
    /// Runs the listener for each event until it is told to end. A listener that is too slow loses
    /// the oldest waiting events, with a warning.
    pub(super) async fn consume(
        self,
        mut events: Receiver<Arc<Event>>,
        state: watch::Sender<ConsumerState>,
        ending: Ending,
    ) {
        state.send_replace(ConsumerState::Running);
        let spec = self.consumption.listener.clone();
        let this = Arc::new(self);
        let mut running = JoinSet::new();
        loop {
            let full = running.len() >= usize::from(spec.concurrency);
            tokio::select! {
                biased;
                () = ending.finish.cancelled() => break,
                Some(_) = running.join_next() => {}
                event = events.recv(), if !full => match event {
                    Ok(event) => {
                        running.spawn(Arc::clone(&this).run(event, ending.abort.child_token()));
                    }
                    Err(RecvError::Lagged(lost)) => {
                        let group = spec.group.as_str();
                        warn!(group, lost, "group {group} is too slow for its bus; {lost} events are lost to it");
                    }
                    Err(RecvError::Closed) => break,
                },
            }
        }
        ending.wait(running).await;
        drop(state);
    }

    async fn run(self: Arc<Self>, event: Arc<Event>, cancelled: CancellationToken) {
        let spec = &self.consumption.listener;
        let execution =
            Execution { cancelled, ..Execution::begin(spec, 0, self.clock.monotonic()) };
        let running = execute(self.listener.as_ref(), &event, &execution);
        if let Err(failure) = contained(spec.timeout, running).await {
            let (group, id) = (spec.group.as_str(), event.id.as_str());
            let cause = failure.to_string();
            warn!(
                group,
                event.id = id,
                cause,
                "group {group} failed on event {id}; an every-node listener gets an event only once, so the event does not run again: {cause}"
            );
        }
    }
}

/// Lets each dispatch run a synchronous listener, until the listener is told to end. The listener
/// is registered before this function returns.
pub(super) fn attend(
    spec: ListenerSpec,
    listener: Arc<dyn Listener>,
    inline: &InlineListeners,
    state: watch::Sender<ConsumerState>,
    ending: Ending,
) -> impl Future<Output = ()> + use<> {
    let concurrency = spec.concurrency;
    let slots = Arc::new(Semaphore::new(concurrency.into()));
    let registered = inline.register(spec, listener, Arc::clone(&slots), ending.abort.clone());
    state.send_replace(ConsumerState::Running);
    async move {
        ending.finish.cancelled().await;
        drop(registered);
        // All slots are free when no execution runs. An aborted execution gives its slot back.
        let _ = slots.acquire_many(concurrency.into()).await;
        drop(state);
    }
}
