//! Signals that ask the process to stop.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// SIGTERM and SIGINT (Ctrl-C) of this process. The first signal asks for an orderly end. An
/// operator who sends a second one does not want to wait for it.
pub struct StopSignals {
    terminate: Option<Signal>,
    interrupt: Option<Signal>,
}

impl StopSignals {
    /// Catches the signals from here on, so that they no longer end the process by themselves.
    #[must_use]
    pub fn catch() -> Self {
        let terminate = catch(SignalKind::terminate(), "SIGTERM");
        Self { terminate, interrupt: catch(SignalKind::interrupt(), "SIGINT") }
    }

    /// Waits for the next signal.
    pub async fn next(&mut self) {
        tokio::select! {
            () = receive(&mut self.terminate) => {}
            () = receive(&mut self.interrupt) => {}
        }
    }
}

fn catch(kind: SignalKind, name: &'static str) -> Option<Signal> {
    let caught = signal(kind).inspect_err(|error| {
        tracing::warn!(signal = name, %error, "{name} cannot be caught, so it ends this node at once, without an orderly stop: {error}");
    });
    caught.ok()
}

/// Waits for a signal; forever for one that could not be caught.
async fn receive(signal: &mut Option<Signal>) {
    let received = match signal {
        Some(signal) => signal.recv().await,
        None => None,
    };
    if received.is_none() {
        std::future::pending::<()>().await;
    }
}
