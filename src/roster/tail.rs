//! Tailing the log.

use super::RosterService;
use crate::{
    error_chain::error_chain,
    outage::{Outage, Reporting},
};
use std::{sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// Longest pause between two reads of the log. Rings of the doorbell may be lost (a reconnect, a
/// pooler in between). The heartbeat notices a newer version within five seconds; this poll is the
/// guarantee for a node whose heartbeats are not written.
const POLL: Duration = Duration::from_secs(30);

/// Longest pause between two reads of a log that could not be read.
const READ_AGAIN: Duration = Duration::from_secs(5);

/// Tails the log, which keeps the roster up to date, until it is told to stop.
///
/// A log that is out of reach is read again after a pause. A log with a hole, or with an event that
/// this program does not know, halts the tail at the last version that it understands: the tail
/// never skips an event. Each cause is logged once, and the health check shows it.
pub async fn tail_log(roster: Arc<RosterService>, stop: CancellationToken) {
    let mut doorbell = roster.store.doorbell();
    let clock = &roster.config.clock;
    let mut outage = Outage::new(clock, "the roster does not advance", "the roster advances again")
        .reporting(Reporting::EachCause);
    loop {
        // Marked before reading, so that a ring while reading is not lost.
        doorbell.mark_unchanged();
        let pause = match roster.current().await {
            Ok(_) => {
                outage.over();
                roster.halt.send_replace(None);
                POLL
            }
            Err(error) => {
                outage.failed(&error_chain(&error));
                roster.halt.send_replace(Some(Arc::new(error)));
                READ_AGAIN
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            rung = doorbell.changed() => if rung.is_err() { tokio::time::sleep(pause).await },
            () = tokio::time::sleep(pause) => {}
        }
    }
}
