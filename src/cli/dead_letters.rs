//! `hearken dead-letters`.

mod delete;
mod list;
mod redeliver;

use super::{
    client::{Call, Remote, Server},
    error::{CliError, CommandEnd, DONE},
    output::{details, print},
    terminal::clean,
};
use crate::domain::name::{BusName, GroupName};
use clap::{Args, Subcommand};
use serde_json::Value;
use uuid::Uuid;

const EXAMPLES: &str = "\
Examples:
  hearken dead-letters list --group search-index
  hearken dead-letters show 0199c0de-0000-7000-8000-000000000000
  hearken dead-letters redeliver --group search-index --limit 10
  hearken dead-letters redeliver --all
  hearken dead-letters delete --older-than 30d";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DeadLettersCommand {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: DeadLettersAction,
}

#[derive(Debug, Subcommand)]
enum DeadLettersAction {
    /// List the dead letters, oldest first
    List(list::ListDeadLetters),
    /// Show a dead letter with its event
    Show {
        /// Id of the entry
        id: Uuid,
        /// Print only the event, unchanged
        #[arg(long)]
        event: bool,
    },
    /// Redeliver dead letters to their listeners, and wait for the end
    Redeliver(redeliver::RedeliverDeadLetters),
    /// Delete dead letters; their events are lost for good
    Delete(delete::DeleteDeadLetters),
}

/// Filters that choose entries.
#[derive(Debug, Args)]
struct DeadLetterFilters {
    /// Choose only entries of this bus
    #[arg(long)]
    bus: Option<BusName>,
    /// Choose only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Choose only events about this user
    #[arg(long)]
    user: Option<String>,
    /// Choose only entries that last failed at or after this time, such as 2026-11-21T05:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Choose only entries that last failed before this time
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
}

impl DeadLetterFilters {
    /// Tells whether a filter is set.
    fn is_set(&self) -> bool {
        let texts = [&self.kind, &self.user, &self.since, &self.before];
        self.bus.is_some() || texts.iter().any(|text| text.is_some())
    }

    /// Adds the filters to a request.
    fn apply_to<'a>(&self, call: Call<'a>) -> Call<'a> {
        call.maybe("bus", self.bus.as_ref())
            .maybe("type", self.kind.as_ref())
            .maybe("user", self.user.as_ref())
            .maybe("since", self.since.as_ref())
            .maybe("before", self.before.as_ref())
    }
}

impl DeadLettersCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.server()?;
        match self.command {
            DeadLettersAction::List(list) => list.run(&server).await,
            DeadLettersAction::Show { id, event } => show(&server, id, event).await,
            DeadLettersAction::Redeliver(redeliver) => redeliver.run(&server).await,
            DeadLettersAction::Delete(delete) => delete.run(&server).await,
        }
    }
}

/// Members of an entry that are shown first.
const FIRST: [&str; 6] = ["insertionId", "group", "bus", "cause", "attempts", "lastFailedAt"];

async fn show(server: &Server, id: Uuid, event: bool) -> CommandEnd {
    let id = id.to_string();
    let entry = server.get(&["events", "deadLetter", &id]).send().await?;
    if !event && server.prints_json() {
        print(&entry.text)?;
        return Ok(DONE);
    }
    let json = entry.json()?;
    let group = group_of(&json)?;
    let path = ["events", "deadLetter", "groups", group.as_str(), &id];
    let body = server.get(&path).send().await?;
    if event {
        print(&body.text)?;
    } else {
        print(&format!("{}\n\n{}", details(&json, &FIRST), clean(&body.text)))?;
    }
    Ok(DONE)
}

/// Finds the group of an entry; fails when the entry does not exist.
async fn find(server: &Server, id: Uuid) -> Result<GroupName, CliError> {
    let answer = server.get(&["events", "deadLetter", &id.to_string()]).send().await?;
    group_of(&answer.json()?)
}

fn group_of(entry: &Value) -> Result<GroupName, CliError> {
    let group = entry["group"].as_str().unwrap_or_default();
    GroupName::parse(group)
        .map_err(|error| CliError::Failed(format!("the answer has no group: {error}")))
}
