//! `hearken doctor`: checks the settings of `serve` and everything that they name.

mod cluster;
mod local;
mod node;

use super::{
    error::{CliError, CommandEnd, DONE, FAILED},
    output::print,
    serve::Extras,
    terminal::clean,
};
use crate::{clock::Clock, config};
use clap::Args;

const EXAMPLES: &str = "\
Reads the settings of serve from the same places, and changes nothing. Exits with 1 when a line
says FAIL.

Examples:
  hearken doctor
  hearken doctor --database-url postgres://hearken@db/hearken --amqp-url amqp://hearken@mq/events";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorCommand {
    #[command(flatten)]
    flags: config::Flags,
    /// Address of the node, if it runs already [default: the address of --listen]
    #[arg(long, env = "HEARKEN_URL", value_name = "URL")]
    url: Option<String>,
    /// Token of the node, if it differs from the token in the settings
    #[arg(long, env = "HEARKEN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

/// Lines that doctor has printed so far.
#[derive(Default)]
struct Findings {
    failed: bool,
}

impl Findings {
    /// Prints the result of a check: `Ok` with the state, or `Err` with the trouble and its remedy.
    fn note(&mut self, what: &str, found: Result<String, String>) -> Result<(), CliError> {
        let (verdict, text) = match found {
            Ok(text) => ("ok  ", text),
            Err(text) => {
                self.failed = true;
                ("FAIL", text)
            }
        };
        print(&format!("{verdict}  {what:<16} {}", clean(&text)))
    }
}

impl DoctorCommand {
    pub(super) async fn run(self, extras: &Extras, clock: &Clock) -> CommandEnd {
        let settings = config::Serve::load(&self.flags)?;
        let mut findings = Findings::default();
        let (mode, node) = (settings.mode(), &settings.node_id);
        findings
            .note("settings", Ok(format!("{mode}; node {node}, prefix {}", settings.prefix)))?;
        let node = node::examine(&self, &settings, &mut findings).await?;
        local::examine(&settings, extras, clock, node, &mut findings).await?;
        if let Some(cluster) = &settings.cluster {
            cluster::examine(&settings, cluster, clock, &mut findings).await?;
        }
        Ok(if findings.failed { FAILED } else { DONE })
    }
}
