//! `hearken dead-letters`.

mod delete;
mod list;
mod redeliver;

use super::{
    client::{Call, Remote, Server},
    error::{CliError, DONE, Outcome},
    output::{clean, details, print},
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
pub(super) struct DeadLetters {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the dead letters, oldest first
    List(list::List),
    /// Show a dead letter with its event
    Show {
        /// The entry's id
        id: Uuid,
        /// Print the event alone, as the server has it
        #[arg(long)]
        event: bool,
    },
    /// Put dead letters back, and wait for the end
    Redeliver(redeliver::Redeliver),
    /// Delete dead letters; their events are lost
    Delete(delete::Delete),
}

/// Which entries.
#[derive(Debug, Args)]
struct Filters {
    /// Only entries of this bus
    #[arg(long)]
    bus: Option<BusName>,
    /// Only events of this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only events about this user
    #[arg(long)]
    user: Option<String>,
    /// Only entries whose last failure was then or after, such as 2026-11-21T05:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Only entries whose last failure was before this time
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
}

impl Filters {
    /// Whether anything is left out.
    fn any(&self) -> bool {
        let texts = [&self.kind, &self.user, &self.since, &self.before];
        self.bus.is_some() || texts.iter().any(|text| text.is_some())
    }

    fn on<'a>(&self, call: Call<'a>) -> Call<'a> {
        call.maybe("bus", self.bus.as_ref())
            .maybe("type", self.kind.as_ref())
            .maybe("user", self.user.as_ref())
            .maybe("since", self.since.as_ref())
            .maybe("before", self.before.as_ref())
    }
}

impl DeadLetters {
    pub(super) async fn run(self) -> Outcome {
        let server = self.remote.server()?;
        match self.command {
            Command::List(list) => list.run(&server).await,
            Command::Show { id, event } => show(&server, id, event).await,
            Command::Redeliver(redeliver) => redeliver.run(&server).await,
            Command::Delete(delete) => delete.run(&server).await,
        }
    }
}

/// What of an entry is shown first.
const FIRST: [&str; 6] = ["insertionId", "group", "bus", "cause", "attempts", "lastFailedAt"];

async fn show(server: &Server, id: Uuid, event: bool) -> Outcome {
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

/// The group that an entry is of; fails when there is no such entry.
async fn find(server: &Server, id: Uuid) -> Result<GroupName, CliError> {
    let answer = server.get(&["events", "deadLetter", &id.to_string()]).send().await?;
    group_of(&answer.json()?)
}

fn group_of(entry: &Value) -> Result<GroupName, CliError> {
    let group = entry["group"].as_str().unwrap_or_default();
    GroupName::parse(group)
        .map_err(|error| CliError::Failed(format!("the answer has no group: {error}")))
}
