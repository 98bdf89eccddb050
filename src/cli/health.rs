//! `hearken health`.

use super::{
    client::Remote,
    error::{CommandEnd, DONE, FAILED},
    output::{cell, columns},
};
use clap::Args;
use reqwest::StatusCode;

const EXAMPLES: &str = "\
Exits with 1 when a component is unhealthy; with --strict, also when a component is degraded.

Examples:
  hearken health
  hearken health --strict --check 'Listener topology' --check Database";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct HealthCommand {
    #[command(flatten)]
    remote: Remote,
    /// Fail also when a component is degraded
    #[arg(long)]
    strict: bool,
    /// Check only this component; may be repeated
    #[arg(long, value_name = "NAME")]
    check: Vec<String>,
}

impl HealthCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.open_server()?;
        let mut call = server.get(&["healthcheck"]);
        for name in &self.check {
            call = call.query("check", name);
        }
        if self.strict {
            call = call.query("strict", "true");
        }
        let unwell = |status| status == StatusCode::SERVICE_UNAVAILABLE;
        let answer = call.send_accepting(unwell).await?;
        server.show(&answer, |json| {
            let shown =
                [("COMPONENT", "/componentName"), ("STATUS", "/status"), ("CAUSE", "/cause")];
            let checks = columns(&json["checks"], &shown, "no components");
            format!("{checks}\n\n{}", cell(&json["status"]))
        })?;
        Ok(if answer.status.is_success() { DONE } else { FAILED })
    }
}
