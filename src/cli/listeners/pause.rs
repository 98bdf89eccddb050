//! `hearken listeners pause` and `hearken listeners resume`.

use super::settings::IDEMPOTENCY_KEY;
use crate::{
    cli::{
        client::Server,
        error::{CommandEnd, DONE, PENDING},
        output::print,
    },
    domain::{name::GroupName, span::Span},
};
use clap::Args;
use reqwest::Method;
use serde_json::json;

/// What to do with the consuming of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PauseAction {
    Pause,
    Resume,
}

#[derive(Debug, Args)]
pub(super) struct PauseListener {
    /// Group of the listener
    group: GroupName,
    /// Reason for the command, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait at most this long, such as 5s, until every node has followed
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Key of the command: the server executes commands with the same key only once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl PauseListener {
    pub(super) async fn run(self, server: &Server, action: PauseAction) -> CommandEnd {
        let (name, done) = match action {
            PauseAction::Pause => ("pause", "paused; its queue holds the events"),
            PauseAction::Resume => ("resume", "resumed"),
        };
        let path = ["listeners", self.group.as_str()];
        let mut call = server.call(Method::POST, &path).query("action", name);
        call = call.maybe("wait", self.wait.as_ref());
        call = call.patience(self.wait.map(Span::duration).unwrap_or_default());
        if let Some(reason) = &self.reason {
            let body = json!({ "reason": reason }).to_string();
            call = call.body("application/json", body.into_bytes())?;
        }
        if let Some(key) = &self.idempotency_key {
            call = call.header(IDEMPOTENCY_KEY, key)?;
        }
        let answer = call.send().await?;
        let nodes = answer.headers.get("hearken-nodes");
        let is_pending = nodes.is_some_and(|nodes| nodes == "pending");
        if server.prints_json() {
            // The answer has an empty body.
            print(&answer.text)?;
        } else if is_pending {
            print(&format!(
                "{} is {done}; not every node has followed yet, and hearken nodes shows which",
                self.group
            ))?;
        } else {
            print(&format!("{} is {done}", self.group))?;
        }
        Ok(if is_pending { PENDING } else { DONE })
    }
}
