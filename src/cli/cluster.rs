//! `hearken cluster`.

use super::{
    client::{Remote, Server},
    error::{CommandEnd, DONE},
    output::{cell, details},
};
use crate::{
    config::{parse_history_limit, parse_quota},
    domain::{
        retention::{DeadLetterQuota, HistoryLimit},
        span::Span,
    },
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

const EXAMPLES: &str = "\
Every node follows a change without a restart. Settings that are not given stay as they are.

Examples:
  hearken cluster show
  hearken cluster set --reconcile manual --reason CHG-1234
  hearken cluster set --retain-tasks 7d,5000";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ClusterCommand {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: ClusterAction,
}

#[derive(Debug, Subcommand)]
enum ClusterAction {
    /// Show the settings of the cluster, and the nodes whose configuration differs
    Show,
    /// Change settings of the cluster
    Set(SetCommand),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Changes {
    /// Type of the work queues that are made from now on
    #[arg(long, value_parser = ["quorum", "classic"])]
    queue_type: Option<String>,
    /// Repair of drift
    #[arg(long, value_parser = ["auto", "manual"])]
    reconcile: Option<String>,
    /// Longest time between two comparisons of the broker with the roster
    #[arg(long, value_name = "TIME")]
    reconcile_interval: Option<Span>,
    /// Age at which dead letters are removed
    #[arg(long, value_name = "AGE")]
    retain_dead_letters: Option<Span>,
    /// Dead letters of one group at which its failed events stay with the broker
    #[arg(long, value_name = "COUNT,SIZE", value_parser = parse_quota)]
    dead_letter_quota: Option<DeadLetterQuota>,
    /// Ended tasks that are kept
    #[arg(long, value_name = "AGE,COUNT", value_parser = parse_history_limit)]
    retain_tasks: Option<HistoryLimit>,
    /// Ids of commands that are kept
    #[arg(long, value_name = "AGE,COUNT", value_parser = parse_history_limit)]
    retain_commands: Option<HistoryLimit>,
    /// Records of passes that are kept
    #[arg(long, value_name = "AGE,COUNT", value_parser = parse_history_limit)]
    retain_passes: Option<HistoryLimit>,
}

#[derive(Debug, Args)]
struct SetCommand {
    #[command(flatten)]
    changes: Changes,
    /// Reason for the change, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl ClusterCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.server()?;
        match self.command {
            ClusterAction::Show => show(&server).await,
            ClusterAction::Set(command) => command.run(&server).await,
        }
    }
}

async fn show(server: &Server) -> CommandEnd {
    let answer = server.get(&["cluster"]).send().await?;
    let first = ["prefix", "queueType", "reconcile", "reconcileInterval", "retention"];
    server.show(&answer, |json| details(json, &first))?;
    Ok(DONE)
}

impl SetCommand {
    async fn run(self, server: &Server) -> CommandEnd {
        let body = Value::from(self.body()).to_string();
        let call = server.call(Method::PUT, &["cluster"]);
        let answer = call.body("application/json", body.into_bytes())?.send().await?;
        server.show(&answer, |json| {
            let changed = format!("changed the cluster; version {}", cell(&json["version"]));
            match json["followUp"].as_str() {
                Some(left) => format!("{changed}\nleft to do: {left}"),
                None => changed,
            }
        })?;
        Ok(DONE)
    }

    fn body(&self) -> Map<String, Value> {
        let Changes {
            queue_type,
            reconcile,
            reconcile_interval,
            retain_dead_letters,
            dead_letter_quota,
            retain_tasks,
            retain_commands,
            retain_passes,
        } = &self.changes;
        let present = |members: [(&str, Value); 5]| -> Map<String, Value> {
            let given = members.into_iter().filter(|(_, value)| !value.is_null());
            given.map(|(name, value)| (name.to_owned(), value)).collect()
        };
        let retention = present([
            ("deadLetters", json!(retain_dead_letters)),
            ("deadLetterQuota", json!(dead_letter_quota)),
            ("tasks", json!(retain_tasks)),
            ("commands", json!(retain_commands)),
            ("passes", json!(retain_passes)),
        ]);
        let retention = if retention.is_empty() { Value::Null } else { retention.into() };
        present([
            ("queueType", json!(queue_type)),
            ("reconcile", json!(reconcile)),
            ("reconcileInterval", json!(reconcile_interval)),
            ("retention", retention),
            ("reason", json!(self.reason)),
        ])
    }
}
