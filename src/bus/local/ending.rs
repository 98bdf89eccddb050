//! How consumers end.

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
