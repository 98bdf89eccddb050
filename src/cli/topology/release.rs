//! `hearken topology release`.

use crate::{
    cli::{
        client::Server,
        error::{CommandEnd, DONE},
        output::cell,
        tasks,
    },
    domain::span::Span,
};
use clap::Args;
use reqwest::Method;

#[derive(Debug, Args)]
pub(super) struct ReleaseQueue {
    /// Name of the orphan, as hearken topology drift shows it
    name: String,
    /// Reason, kept in the history
    #[arg(long)]
    reason: Option<String>,
    /// Do not wait for the deletion of the queue; hearken tasks show TASK shows the result
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Wait at most this long; the task continues after that
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: Span,
}

impl ReleaseQueue {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let call = server.call(Method::POST, &["topology", "queues", &self.name]);
        let mut call = call.query("action", "release");
        if let Some(reason) = &self.reason {
            call = call.query("reason", reason);
        }
        let answer = call.send().await?;
        if self.no_wait {
            server.show(&answer, |json| format!("task {}", cell(&json["taskId"])))?;
            return Ok(DONE);
        }
        let task = tasks::accepted_task(&answer)?;
        tasks::wait_for(server, &task, self.timeout.duration(), None).await
    }
}
