//! Every-node listeners: each event once in this process, at most once.

use super::ending::Ending;
use crate::{
    bus::{
        ConsumerState, Consumption, Execution, Listener,
        contain::{contained, execute},
        event::Event,
        registry::Everywhere,
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

/// Runs the handler for each event until it is told to end. What a listener that is too slow does
/// not keep up with is lost to it, with a warning.
pub(super) async fn consume(
    consumption: Consumption,
    handler: Arc<dyn Listener>,
    mut events: Receiver<Arc<Event>>,
    state: watch::Sender<ConsumerState>,
    ending: Ending,
) {
    state.send_replace(ConsumerState::Running);
    let abort = ending.abort.clone();
    let consumption = Arc::new(consumption);
    let mut running = JoinSet::new();
    loop {
        let full = running.len() >= usize::from(consumption.listener.concurrency);
        tokio::select! {
            biased;
            () = ending.finish.cancelled() => break,
            Some(_) = running.join_next() => {}
            event = events.recv(), if !full => match event {
                Ok(event) => {
                    let call = call(Arc::clone(&consumption), Arc::clone(&handler), event, abort.child_token());
                    running.spawn(call);
                }
                Err(RecvError::Lagged(lost)) => {
                    let group = consumption.listener.group.as_str();
                    warn!(group, lost, "group {group} is too slow for its bus; {lost} events are lost to it");
                }
                Err(RecvError::Closed) => break,
            },
        }
    }
    ending.wait(running).await;
    drop(state);
}

async fn call(
    consumption: Arc<Consumption>,
    handler: Arc<dyn Listener>,
    event: Arc<Event>,
    cancelled: CancellationToken,
) {
    let listener = &consumption.listener;
    let execution =
        Execution { cancelled, ..Execution::begin(listener, 0, Clock::system().monotonic()) };
    let running = execute(handler.as_ref(), &event, &execution);
    if let Err(failure) = contained(listener.timeout, running).await {
        let (group, id) = (listener.group.as_str(), event.id.as_str());
        let cause = failure.to_string();
        warn!(
            group,
            event.id = id,
            cause,
            "group {group} failed with event {id}, which an every-node listener gets once: {cause}"
        );
    }
}

/// Lets each dispatch run a synchronous listener, until it is told to end. It is in its place
/// before this returns.
pub(super) fn attend(
    listener: ListenerSpec,
    handler: Arc<dyn Listener>,
    everywhere: &Everywhere,
    state: watch::Sender<ConsumerState>,
    ending: Ending,
) -> impl Future<Output = ()> + use<> {
    let concurrency = listener.concurrency;
    let slots = Arc::new(Semaphore::new(concurrency.into()));
    let place = everywhere.enter(listener, handler, Arc::clone(&slots), ending.abort.clone());
    state.send_replace(ConsumerState::Running);
    async move {
        ending.finish.cancelled().await;
        drop(place);
        // All slots are free when nothing runs. Executions that are aborted give theirs back.
        let _ = slots.acquire_many(concurrency.into()).await;
        drop(state);
    }
}
