//! Being told to stop.

use tokio::sync::watch;

/// Counts the signals that ask the process to end.
#[derive(Clone)]
pub struct Signals(watch::Receiver<u32>);

/// Listens for SIGTERM and for Ctrl-C from here on.
///
/// The first asks for an orderly end; an operator who sends a second does not want to wait.
#[must_use]
pub fn signals() -> Signals {
    let (count, seen) = watch::channel(0);
    tokio::spawn(async move {
        loop {
            one().await;
            count.send_modify(|count| *count += 1);
        }
    });
    Signals(seen)
}

impl Signals {
    /// Waits for the first signal.
    pub async fn first(&self) {
        self.at_least(1).await;
    }

    /// Waits for the second.
    pub async fn second(&self) {
        self.at_least(2).await;
    }

    async fn at_least(&self, wanted: u32) {
        let mut seen = self.0.clone();
        if seen.wait_for(|count| *count >= wanted).await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

async fn one() {
    use tokio::signal::unix::{SignalKind, signal};
    let interrupted = tokio::signal::ctrl_c();
    match signal(SignalKind::terminate()) {
        Ok(mut terminated) => tokio::select! {
            _ = interrupted => {}
            _ = terminated.recv() => {}
        },
        Err(error) => {
            tracing::warn!(%error, "SIGTERM cannot be listened for; only Ctrl-C stops this node");
            let _ = interrupted.await;
        }
    }
}
