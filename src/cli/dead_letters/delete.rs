//! `hearken dead-letters delete`.

use super::find;
use crate::{
    cli::{
        client::Server,
        error::{CommandEnd, DONE},
        output::print,
        tasks,
    },
    domain::{
        name::{BusName, GroupName},
        span::Span,
    },
};
use clap::{ArgGroup, Args};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use uuid::Uuid;

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").required(true).multiple(true).args(["id", "group", "older_than"])))]
pub(super) struct DeleteDeadLetters {
    /// Id of the entry
    #[arg(conflicts_with_all = ["group", "older_than", "bus"])]
    id: Option<Uuid>,
    /// Delete the entries of this group
    #[arg(long)]
    group: Option<GroupName>,
    /// Delete the entries whose last failure is older than this, such as 30d
    #[arg(long, value_name = "TIME")]
    older_than: Option<Span>,
    /// Delete only entries of this bus
    #[arg(long)]
    bus: Option<BusName>,
    /// Wait at most this long for the end of a long deletion; its task continues after that
    #[arg(long, value_name = "TIME", default_value = "10m")]
    timeout: Span,
}

impl DeleteDeadLetters {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let id = self.id.map(|id| id.to_string());
        let found = match self.id {
            Some(id) => Some(find(server, id).await?),
            None => self.group,
        };
        let mut path = vec!["events", "deadLetter"];
        path.extend(found.iter().flat_map(|group| ["groups", group.as_str()]));
        path.extend(id.as_deref());
        let call = server.call(Method::DELETE, &path).maybe("bus", self.bus.as_ref());
        let answer = call.maybe("olderThan", self.older_than.as_ref()).send().await?;
        if answer.status == StatusCode::CREATED {
            let task = tasks::accepted_task(&answer)?;
            return tasks::wait_for(server, &task, self.timeout.duration(), Some(progress)).await;
        }
        print(if server.prints_json() { &answer.text } else { "deleted" })?;
        Ok(DONE)
    }
}

/// Progress of a deletion in words.
fn progress(task: &Value) -> Option<String> {
    let removed = task["additionalInformation"]["removedCount"].as_u64()?;
    Some(format!("{removed} deleted"))
}
