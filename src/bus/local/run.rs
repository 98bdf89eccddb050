//! One execution of a handler, and how consumers end.

use crate::bus::{Execution, Failure, Handler, event::Event, registry::INSIDE};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How a consumer is told to end.
pub(super) struct Ending {
    /// Take no more, and let what runs finish.
    pub(super) finish: CancellationToken,
    /// Do not wait for it any longer.
    pub(super) abort: CancellationToken,
}

impl Ending {
    /// Waits until all have ended, or ends them.
    pub(super) async fn wait<T: 'static>(&self, mut running: JoinSet<T>) {
        let all = async { while running.join_next().await.is_some() {} };
        let patient = self.abort.run_until_cancelled(all).await.is_some();
        if !patient {
            running.shutdown().await;
        }
    }
}

/// Runs a handler. Going on after the execution's deadline and panicking are failures as any
/// other. Whoever dispatches in it waits for no place that it may hold itself.
pub(super) async fn run(
    handler: &dyn Handler,
    event: &Event,
    execution: &Execution,
) -> Result<(), Failure> {
    let began = tokio::time::Instant::now();
    let running = AssertUnwindSafe(handler.handle(event, execution)).catch_unwind();
    let running = INSIDE.scope((), running);
    match tokio::time::timeout_at(execution.deadline.into(), running).await {
        Ok(Ok(result)) => result,
        Ok(Err(panic)) => {
            let words = panic.downcast_ref::<&str>().copied().map(str::to_owned);
            let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
            Err(Failure::new(format!("the listener panicked: {}", words.unwrap_or_default())))
        }
        Err(_) => {
            execution.cancelled.cancel();
            let millis = began.elapsed().as_millis();
            Err(Failure::new(format!("the listener did not finish within {millis} ms")))
        }
    }
}
