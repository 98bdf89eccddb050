//! `hearken dead-letters redeliver`.

use super::{DeadLetterFilters, find};
use crate::{
    cli::{
        client::{Call, Server},
        error::{CliError, CommandEnd, DONE},
        output::print,
        tasks,
        terminal::clean,
    },
    domain::{name::GroupName, span::Span},
};
use clap::{ArgGroup, Args};
use reqwest::Method;
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).args(["ids", "group", "all"])))]
pub(super) struct RedeliverDeadLetters {
    /// Ids of the entries
    ids: Vec<Uuid>,
    /// Redeliver the entries of this group
    #[arg(long)]
    group: Option<GroupName>,
    /// Redeliver the entries of every group
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    filters: DeadLetterFilters,
    /// Redeliver at most this many entries
    #[arg(long, value_name = "NUMBER", conflicts_with = "ids")]
    limit: Option<u64>,
    /// Do not wait for the end; hearken tasks show TASK shows the result
    #[arg(long, conflicts_with = "timeout")]
    no_wait: bool,
    /// Wait at most this long; the task continues after that
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: Span,
}

impl RedeliverDeadLetters {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        if !self.ids.is_empty() && self.filters.is_set() {
            let what = "an id names one entry; --bus, --type, --user, --since and --before go with --group or --all";
            return Err(CliError::Usage(what.into()));
        }
        if self.ids.is_empty() {
            let mut path = vec!["events", "deadLetter"];
            path.extend(self.group.iter().flat_map(|group| ["groups", group.as_str()]));
            let call = self.filters.apply_to(server.call(Method::POST, &path));
            return self.redeliver(server, call.maybe("limit", self.limit.as_ref())).await;
        }
        // All ids are looked up first, so that a wrong id is reported before an event is
        // redelivered.
        let mut groups = Vec::new();
        for id in &self.ids {
            groups.push(find(server, *id).await?);
        }
        let mut code = DONE;
        for (id, group) in self.ids.iter().zip(groups) {
            let path = ["events", "deadLetter", "groups", group.as_str(), &id.to_string()];
            code = code.max(self.redeliver(server, server.call(Method::POST, &path)).await?);
        }
        Ok(code)
    }

    /// Asks for the redelivery, and waits for the end of its task unless told not to.
    async fn redeliver(&self, server: &Server, call: Call<'_>) -> CommandEnd {
        let answer = call.query("action", "reDeliver").send().await?;
        let task = tasks::accepted_task(&answer)?;
        if self.no_wait {
            let shown = format!("task {}", clean(&task));
            print(if server.prints_json() { &answer.text } else { &shown })?;
            return Ok(DONE);
        }
        tasks::wait_for(server, &task, self.timeout.duration(), Some(progress)).await
    }
}

/// Progress of a redelivery in words.
fn progress(task: &Value) -> Option<String> {
    let information = &task["additionalInformation"];
    let done = information["successfulRedeliveriesCount"].as_u64()?;
    let failed = information["failedRedeliveriesCount"].as_u64()?;
    Some(format!("{done} redelivered, {failed} failed"))
}
