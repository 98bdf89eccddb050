//! `hearken listeners remove`.

use super::settings::IDEMPOTENCY_KEY;
use crate::{
    cli::{
        client::{Answer, Server},
        error::{CliError, CommandEnd, DONE, PENDING},
        output::print,
    },
    domain::{event::Version, name::GroupName, span::Span},
};
use clap::Args;
use reqwest::{Method, header::ETAG};
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Longest wait that the server grants to one request.
const SERVER_WAIT: Duration = Duration::from_mins(1);

/// Pause between two looks for the queue of the removed listener.
const QUEUE_POLL: Duration = Duration::from_secs(1);

const REMOVE_HELP: &str = "\
Pending events of a removed listener:
  keep     the queue is unbound and kept; adding the group again consumes it (the default)
  drain    the queue is unbound, consumed until it is empty, then deleted
  discard  the queue is unbound and deleted with its events

With drain or discard, --wait ends when the queue is deleted. With exit code 5 it was not deleted
in time, and hearken goes on by itself.";

#[derive(Debug, Args)]
#[command(after_help = REMOVE_HELP)]
pub(super) struct RemoveListener {
    /// Group of the listener
    group: GroupName,
    /// What happens to the pending events of the listener
    #[arg(long, value_parser = ["keep", "drain", "discard"], value_name = "WHAT")]
    pending: Option<String>,
    /// Reason for the change, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait at most this long, such as 5s or 1h, until the broker has the change
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Key of the command: the server executes commands with the same key only once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl RemoveListener {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let (first, more) = self.waits();
        let path = ["listeners", self.group.as_str()];
        let mut call = server.call(Method::DELETE, &path).maybe("pending", self.pending.as_ref());
        call = call.maybe("reason", self.reason.as_ref()).maybe("wait", first.as_ref());
        call = call.patience(first.map(Span::duration).unwrap_or_default());
        if let Some(key) = &self.idempotency_key {
            call = call.header(IDEMPOTENCY_KEY, key)?;
        }
        let answer = call.send().await?;
        let topology = answer.headers.get("hearken-topology");
        let mut is_pending = topology.is_some_and(|topology| topology == "pending");
        if is_pending && !more.is_zero() {
            is_pending = !self.is_deleted_within(server, &answer, more).await;
        }
        self.tell(server, &answer, is_pending)?;
        Ok(if is_pending { PENDING } else { DONE })
    }

    /// Wait that the server is asked for, and the wait that is left for this program to poll. A
    /// kept queue is unbound within seconds, so only the deletion of a queue is polled for.
    fn waits(&self) -> (Option<Span>, Duration) {
        let Some(wait) = self.wait else { return (None, Duration::ZERO) };
        let first = wait.duration().min(SERVER_WAIT);
        let deletes = matches!(self.pending.as_deref(), Some("drain" | "discard"));
        let more = if deletes { wait.duration().saturating_sub(first) } else { Duration::ZERO };
        (Some(Span::from_millis(u64::try_from(first.as_millis()).unwrap_or(u64::MAX))), more)
    }

    /// Polls until the server lists no queue that this removal left. A server that does not answer
    /// is asked again.
    async fn is_deleted_within(&self, server: &Server, removal: &Answer, limit: Duration) -> bool {
        let version = removal.headers.get(ETAG).and_then(|tag| tag.to_str().ok());
        let version: Option<Version> = version.and_then(|tag| tag.trim_matches('"').parse().ok());
        let polling = async {
            while !matches!(self.is_listed(server, version).await, Ok(false)) {
                sleep(QUEUE_POLL).await;
            }
        };
        timeout(limit, polling).await.is_ok()
    }

    /// Whether the server lists the queue that this removal left.
    async fn is_listed(&self, server: &Server, version: Option<Version>) -> Result<bool, CliError> {
        let mut after: Option<String> = None;
        loop {
            let call = server.get(&["topology", "queues"]).query("kind", "draining");
            let json = call.maybe("after", after.as_ref()).send().await?.json()?;
            let mut queues = json["queues"].as_array().into_iter().flatten();
            let is_left = queues.any(|queue| {
                queue["group"] == self.group.as_str()
                    && version.is_none_or(|version| queue["tombstone"]["version"] == version)
            });
            match json["next"].as_str() {
                Some(next) if !is_left => after = Some(next.to_owned()),
                _ => return Ok(is_left),
            }
        }
    }

    fn tell(&self, server: &Server, answer: &Answer, is_pending: bool) -> Result<(), CliError> {
        if server.prints_json() {
            // The answer has an empty body.
            return print(&answer.text);
        }
        let is_done = self.wait.is_some() && !is_pending;
        let events = match self.pending.as_deref() {
            Some("drain") if is_done => "its pending events are consumed, and its queue is deleted",
            Some("drain") => "its pending events are consumed, then its queue is deleted",
            Some("discard") if is_done => "its queue is deleted with the pending events",
            Some("discard") => "its queue will be deleted with the pending events",
            _ => "its pending events are kept until the group is added again",
        };
        let topology = if is_pending {
            "; the broker has not followed yet, and hearken goes on by itself: hearken topology queues shows what is left"
        } else {
            ""
        };
        print(&format!("removed {}; {events}{topology}", self.group))
    }
}
