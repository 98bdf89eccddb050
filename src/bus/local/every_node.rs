//! Every-node listeners: each event once in this process, at most once.

use super::run::{Ending, run};
use crate::bus::{ConsumerState, Consumption, Execution, Handler, event::Event};
use std::sync::Arc;
use tokio::{
    sync::{
        broadcast::{Receiver, error::RecvError},
        watch,
    },
    task::JoinSet,
};
use tracing::warn;

/// Runs the handler for each event until it is told to end. What a listener that is too slow does
/// not keep up with is lost to it, with a warning.
pub(super) async fn consume(
    consumption: Consumption,
    handler: Arc<dyn Handler>,
    mut events: Receiver<Arc<Event>>,
    state: watch::Sender<ConsumerState>,
    ending: Ending,
) {
    state.send_replace(ConsumerState::Running);
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
                    running.spawn(call(Arc::clone(&consumption), Arc::clone(&handler), event));
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

async fn call(consumption: Arc<Consumption>, handler: Arc<dyn Handler>, event: Arc<Event>) {
    let listener = &consumption.listener;
    let (group, bus) = (listener.group.clone(), listener.bus.clone());
    let execution = Execution { group, bus, attempt: 0 };
    let outcome = run(handler.as_ref(), &event, &execution, listener.timeout.duration()).await;
    if let Err(failure) = outcome {
        let (group, id) = (listener.group.as_str(), event.id.as_str());
        let cause = failure.cause;
        warn!(
            group,
            event.id = id,
            cause,
            "group {group} failed with event {id}, which an every-node listener gets once: {cause}"
        );
    }
}
