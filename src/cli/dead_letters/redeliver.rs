//! `hearken dead-letters redeliver`.

use super::{Filters, find};
use crate::{
    cli::{
        client::{Call, Server},
        error::{CliError, DONE, Outcome},
        output::{cell, print},
        tasks,
    },
    domain::{name::GroupName, span::Span},
};
use clap::{ArgGroup, Args};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["ids", "group", "all"])))]
pub(super) struct Redeliver {
    /// The entries' ids
    ids: Vec<Uuid>,
    /// The entries of this group
    #[arg(long)]
    group: Option<GroupName>,
    /// The entries of every group
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: Filters,
    /// At most so many
    #[arg(long, value_name = "NUMBER", conflicts_with = "ids")]
    limit: Option<u64>,
    /// Do not wait for the end; hearken tasks show TASK tells it
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Wait at most so long; the work goes on after that
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: Span,
}

impl Redeliver {
    pub(super) async fn run(self, server: &Server) -> Outcome {
        if !self.ids.is_empty() && self.filters.any() {
            let what = "an id names one entry; --bus, --type, --user, --since and --before go with --group or --all";
            return Err(CliError::Usage(what.into()));
        }
        if self.ids.is_empty() {
            let mut path = vec!["events", "deadLetter"];
            path.extend(self.group.iter().flat_map(|group| ["groups", group.as_str()]));
            let call = self.filters.on(server.call(Method::POST, &path));
            return self.work(server, call.maybe("limit", self.limit.as_ref())).await;
        }
        // All are looked up first, so that a wrong one is told before anything is done.
        let mut groups = Vec::new();
        for id in &self.ids {
            groups.push(find(server, *id).await?);
        }
        let mut code = DONE;
        for (id, group) in self.ids.iter().zip(groups) {
            let path = ["events", "deadLetter", "groups", group.as_str(), &id.to_string()];
            code = code.max(self.work(server, server.call(Method::POST, &path)).await?);
        }
        Ok(code)
    }

    async fn work(&self, server: &Server, call: Call<'_>) -> Outcome {
        let answer = call.query("action", "reDeliver").send().await?;
        let json = answer.json()?;
        let task = json["taskId"].as_str().ok_or_else(|| {
            CliError::Failed("the server took the work and did not name its task".into())
        })?;
        if self.no_wait {
            let shown = format!("task {}", cell(&json["taskId"]));
            print(if server.prints_json() { &answer.text } else { &shown })?;
            return Ok(DONE);
        }
        tasks::watch(server, task, self.timeout.duration(), progress).await
    }
}

/// How far a redelivery is, in words.
fn progress(task: &Value) -> Option<String> {
    let information = &task["additionalInformation"];
    let done = information["successfulRedeliveriesCount"].as_u64()?;
    let failed = information["failedRedeliveriesCount"].as_u64()?;
    Some(format!("{done} put back, {failed} failed"))
}
