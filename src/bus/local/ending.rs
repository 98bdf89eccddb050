//! Ending a consumer.

use crate::bus::Stop;
use async_trait::async_trait;
use std::time::Duration;
use tokio::{
    task::{JoinHandle, JoinSet},
    time::timeout,
};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Signals by which a consumer is told to end.
#[derive(Clone, Default)]
pub(super) struct Ending {
    /// Cancelled when the consumer must take no more events and let running executions finish.
    pub(super) finish: CancellationToken,
    /// Cancelled when the consumer must no longer wait for running executions.
    pub(super) abort: CancellationToken,
}

impl Ending {
    /// Waits until all executions have ended. Ends them itself when `abort` is cancelled.
    pub(super) async fn wait<T: 'static>(&self, mut running: JoinSet<T>) {
        let ended = async { while running.join_next().await.is_some() {} };
        let patient = self.abort.run_until_cancelled(ended).await.is_some();
        if !patient {
            running.shutdown().await;
        }
    }

    /// The guard that ends the consumer whose task this is.
    pub(super) fn stopper(self, task: JoinHandle<()>) -> Stopper {
        Stopper { task, finish: self.finish.drop_guard(), abort: self.abort }
    }
}

/// Ends the task of a consumer. Dropped without [`Stop::stop`], it lets the task end by itself.
pub(super) struct Stopper {
    task: JoinHandle<()>,
    finish: DropGuard,
    abort: CancellationToken,
}

#[async_trait]
impl Stop for Stopper {
    async fn stop(mut self: Box<Self>, patience: Duration) {
        drop(self.finish);
        if timeout(patience, &mut self.task).await.is_err() {
            self.abort.cancel();
            // A task that panicked has ended too.
            let _ = self.task.await;
        }
    }
}
