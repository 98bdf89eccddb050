//! `hearken listeners`.

mod add;
mod history;

use super::{
    client::{Remote, Server},
    error::{DONE, Outcome},
    output::{columns, details, print},
};
use crate::domain::{
    event::Version,
    name::{BusName, ClassName, GroupName},
    span::Span,
};
pub(super) use add::loose_json;
use clap::{Args, Subcommand};
use reqwest::Method;

const EXAMPLES: &str = "\
Examples:
  hearken listeners list
  hearken listeners add --class webhook --group search-index --set url=http://indexer/events
  hearken listeners show search-index
  hearken listeners remove search-index --pending drain --reason CHG-1234
  hearken listeners history --all";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Listeners {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the listeners
    List(List),
    /// Add a listener
    Add(Box<add::Add>),
    /// Remove a listener
    Remove(Remove),
    /// Show a listener: its settings, who added it, how it does on each node
    Show {
        /// The listener's group
        group: GroupName,
    },
    /// Who added and removed listeners, when, where and why
    History(history::History),
}

#[derive(Debug, Args)]
struct List {
    /// Only listeners of this class
    #[arg(long)]
    class: Option<ClassName>,
    /// Only listeners of this bus
    #[arg(long)]
    bus: Option<BusName>,
    /// The list as it was at this version
    #[arg(long, value_name = "VERSION")]
    at_version: Option<Version>,
}

const REMOVE_HELP: &str = "\
What becomes of the events that wait for the listener:
  keep     the queue is unbound and kept; adding the group again consumes it (the default)
  drain    the queue is unbound, consumed until it is empty, then deleted
  discard  the queue is unbound and deleted with what it holds";

#[derive(Debug, Args)]
#[command(after_help = REMOVE_HELP)]
struct Remove {
    /// The listener's group
    group: GroupName,
    /// What becomes of the events that wait for it
    #[arg(long, value_parser = ["keep", "drain", "discard"], value_name = "WHAT")]
    pending: Option<String>,
    /// Why; kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait until the broker follows, at most so long, such as 5s
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Names the command, so that it can be sent again without being done twice
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl Listeners {
    pub(super) async fn run(self) -> Outcome {
        let server = self.remote.server()?;
        match self.command {
            Command::List(list) => list.run(&server).await,
            Command::Add(add) => add.run(&server).await,
            Command::Remove(remove) => remove.run(&server).await,
            Command::Show { group } => show(&server, &group).await,
            Command::History(history) => history.run(&server).await,
        }
    }
}

impl List {
    async fn run(self, server: &Server) -> Outcome {
        let call = server.get(&["listeners"]);
        let call = call.maybe("class", self.class.as_ref()).maybe("bus", self.bus.as_ref());
        let answer = call.maybe("atVersion", self.at_version.as_ref()).send().await?;
        server.show(&answer, |json| {
            let shown = [
                ("GROUP", "/group"),
                ("CLASS", "/class"),
                ("BUS", "/bus"),
                ("DELIVERY", "/delivery"),
                ("TOPOLOGY", "/topology"),
                ("ADDED BY", "/addedBy"),
                ("ADDED AT", "/addedAt"),
            ];
            let table = columns(&json["listeners"], &shown, "no listeners");
            format!("{table}\n\nversion {}", json["version"])
        })?;
        Ok(DONE)
    }
}

async fn show(server: &Server, group: &GroupName) -> Outcome {
    let answer = server.get(&["listeners", group.as_str()]).send().await?;
    let first = ["group", "class", "bus", "delivery", "mode", "topology", "backlog"];
    server.show(&answer, |json| details(json, &first))?;
    Ok(DONE)
}

impl Remove {
    async fn run(self, server: &Server) -> Outcome {
        let path = ["listeners", self.group.as_str()];
        let mut call = server.call(Method::DELETE, &path).maybe("pending", self.pending.as_ref());
        call = call.maybe("reason", self.reason.as_ref()).maybe("wait", self.wait.as_ref());
        call = call.patience(self.wait.map(Span::duration).unwrap_or_default());
        if let Some(key) = &self.idempotency_key {
            call = call.header(add::IDEMPOTENCY_KEY, key)?;
        }
        let answer = call.send().await?;
        if server.prints_json() {
            // The server answers with nothing.
            print(&answer.text)?;
            return Ok(DONE);
        }
        let events = match self.pending.as_deref() {
            Some("drain") => "the events that wait are consumed, then its queue is deleted",
            Some("discard") => "its queue is deleted with the events that wait",
            _ => "the events that wait are kept until the group is added again",
        };
        print(&format!("removed {}; {events}", self.group))?;
        Ok(DONE)
    }
}
