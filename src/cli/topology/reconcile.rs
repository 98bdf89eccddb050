//! `hearken topology reconcile`.

use crate::{
    cli::{
        client::Server,
        error::{CliError, DONE, Outcome},
        output::cell,
        tasks,
    },
    domain::span::Span,
};
use clap::Args;
use reqwest::Method;

#[derive(Debug, Args)]
pub(super) struct Reconcile {
    /// Go on although the marker or much of the topology is gone: for a broker that was wiped or
    /// replaced on purpose
    #[arg(long)]
    rebuild: bool,
    /// Do not wait for the end; hearken tasks show TASK tells it
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Wait at most so long; the work goes on after that
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: Span,
}

impl Reconcile {
    pub(super) async fn run(self, server: &Server) -> Outcome {
        let action = if self.rebuild { "rebuild" } else { "reconcile" };
        let call = server.call(Method::POST, &["topology"]).query("action", action);
        let answer = call.send().await?;
        if self.no_wait {
            server.show(&answer, |json| format!("task {}", cell(&json["taskId"])))?;
            return Ok(DONE);
        }
        let json = answer.json()?;
        let task = json["taskId"].as_str().ok_or_else(|| {
            CliError::Failed("the server took the work and did not name its task".into())
        })?;
        tasks::wait_for(server, task, self.timeout.duration()).await
    }
}
