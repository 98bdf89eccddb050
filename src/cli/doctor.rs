//! `hearken doctor`: everything that the settings of `serve` name, looked at before it is needed.

mod cluster;
mod local;
mod node;

use super::{
    error::{CliError, DONE, FAILED, Outcome},
    output::print,
    serve::Extras,
};
use crate::config;
use clap::Args;

const EXAMPLES: &str = "\
Takes the settings of serve, from the same places, and changes nothing. Exits with 1 when a line
says FAIL.

Examples:
  hearken doctor
  hearken doctor --database-url postgres://hearken@db/hearken --amqp-url amqp://hearken@mq/events";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Doctor {
    #[command(flatten)]
    flags: config::Flags,
    /// Where the node is, if it runs already [default: the address of --listen]
    #[arg(long, env = "HEARKEN_URL", value_name = "URL")]
    url: Option<String>,
    /// The node's token, if not the one that its settings name
    #[arg(long, env = "HEARKEN_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    token: Option<String>,
}

/// What is found, line by line.
#[derive(Default)]
struct Findings {
    failed: bool,
}

impl Findings {
    /// Prints what a check found: what is well, or what is wrong and what to do.
    fn note(&mut self, what: &str, found: Result<String, String>) -> Result<(), CliError> {
        let (verdict, text) = match found {
            Ok(text) => ("ok  ", text),
            Err(text) => {
                self.failed = true;
                ("FAIL", text)
            }
        };
        print(&format!("{verdict}  {what:<16} {}", super::output::clean(&text)))
    }
}

impl Doctor {
    pub(super) async fn run(self, extras: &Extras) -> Outcome {
        let settings = config::Serve::load(&self.flags)?;
        let mut findings = Findings::default();
        let kind = if settings.cluster.is_some() { "a cluster" } else { "embedded" };
        let node = &settings.node_id;
        findings
            .note("settings", Ok(format!("{kind}, node {node}, prefix {}", settings.prefix)))?;
        let node = node::examine(&self, &settings, &mut findings).await?;
        local::examine(&settings, extras, node, &mut findings)?;
        if let Some(cluster) = &settings.cluster {
            cluster::examine(&settings, cluster, &mut findings).await?;
        }
        Ok(if findings.failed { FAILED } else { DONE })
    }
}
