//! `hearken topology reconcile`.

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
pub(super) struct ReconcileTopology {
    /// Repair even if the marker or most of the topology is missing: for a broker that was wiped or
    /// replaced on purpose
    #[arg(long)]
    rebuild: bool,
    /// Do not wait for the end; hearken tasks show TASK shows the result
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Wait at most this long; the task continues after that
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: Span,
}

impl ReconcileTopology {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let action = if self.rebuild { "rebuild" } else { "reconcile" };
        let call = server.call(Method::POST, &["topology"]).query("action", action);
        let answer = call.send().await?;
        if self.no_wait {
            server.show(&answer, |json| format!("task {}", cell(&json["taskId"])))?;
            return Ok(DONE);
        }
        let task = tasks::accepted_task(&answer)?;
        tasks::wait_for(server, &task, self.timeout.duration(), None).await
    }
}
