//! Tailing the log.

use super::RosterService;
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// How often the log is read although nothing rang. The doorbell may be lost (a reconnect, a
/// pooler between); this is the guarantee.
const POLL: Duration = Duration::from_secs(5);

/// Keeps the roster up to date until told to stop.
///
/// A log that cannot be read is tried again. One that holds what this program cannot read (a hole,
/// an event from a newer version) halts the tail at the last version it understands, and says so
/// once and in the health check, rather than skip what it does not know.
pub async fn tail_log(roster: Arc<RosterService>, stop: CancellationToken) {
    let mut doorbell = roster.store.doorbell();
    loop {
        // Marked before reading, so that a ring while reading is not lost.
        doorbell.mark_unchanged();
        match roster.current().await {
            Ok(current) => {
                if roster.halt.send_replace(None).is_some() {
                    let version = current.version();
                    tracing::info!(version, "the roster is up to date again, at version {version}");
                }
            }
            Err(error) => {
                let news = roster.halt().is_none_or(|last| last.to_string() != error.to_string());
                if news {
                    let source = std::error::Error::source(&error).map(ToString::to_string);
                    tracing::error!(source, "the roster does not advance: {error}");
                }
                roster.halt.send_replace(Some(Arc::new(error)));
            }
        }
        tokio::select! {
            () = stop.cancelled() => return,
            rung = doorbell.changed() => if rung.is_err() { tokio::time::sleep(POLL).await },
            () = tokio::time::sleep(POLL) => {}
        }
    }
}
