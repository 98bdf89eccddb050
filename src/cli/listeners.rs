//! `hearken listeners`.

mod add;
mod change;
mod diff;
mod history;
mod pause;
mod remove;
mod settings;

use super::{
    client::{Remote, Server},
    error::{CommandEnd, DONE, PENDING},
    output::{columns, details},
    terminal::remark,
};
use crate::domain::{
    event::Version,
    name::{BusName, ClassName, GroupName},
    span::Span,
};
use clap::{Args, Subcommand};
use pause::PauseAction;
use serde_json::Value;
pub(super) use settings::loose_json;

const EXAMPLES: &str = "\
Examples:
  hearken listeners list
  hearken listeners add --class webhook --group search-index --set url=http://indexer/events
  hearken listeners show search-index
  hearken listeners change search-index --set url=http://indexer-2/events --reason CHG-1234
  hearken listeners pause search-index --reason 'the indexer is being upgraded'
  hearken listeners remove search-index --pending drain --reason CHG-1234
  hearken listeners history --all";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ListenersCommand {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: ListenersAction,
}

#[derive(Debug, Subcommand)]
enum ListenersAction {
    /// List the listeners
    List(ListListeners),
    /// Add a listener
    Add(Box<add::AddListener>),
    /// Change the settings of a listener; its queue stays, and no event is missed
    Change(Box<change::ChangeListener>),
    /// Stop every node from consuming for a listener; its queue holds the events
    Pause(pause::PauseListener),
    /// End the pause of a listener
    Resume(pause::PauseListener),
    /// Remove a listener
    Remove(remove::RemoveListener),
    /// Show a listener: its settings, its author, and its state on each node
    Show {
        /// Group of the listener
        group: GroupName,
    },
    /// Show who added, changed, paused and removed listeners, when, where and why
    History(history::ShowHistory),
    /// Show the difference between two versions of the roster
    Diff(diff::ShowDiff),
}

#[derive(Debug, Args)]
struct ListListeners {
    /// List only listeners of this class
    #[arg(long)]
    class: Option<ClassName>,
    /// List only listeners of this bus
    #[arg(long)]
    bus: Option<BusName>,
    /// List the listeners of this version of the roster
    #[arg(long, value_name = "VERSION")]
    at_version: Option<Version>,
}

impl ListenersCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.server()?;
        match self.command {
            ListenersAction::List(list) => list.run(&server).await,
            ListenersAction::Add(add) => add.run(&server).await,
            ListenersAction::Change(change) => change.run(&server).await,
            ListenersAction::Pause(pause) => pause.run(&server, PauseAction::Pause).await,
            ListenersAction::Resume(pause) => pause.run(&server, PauseAction::Resume).await,
            ListenersAction::Remove(remove) => remove.run(&server).await,
            ListenersAction::Diff(diff) => diff.run(&server).await,
            ListenersAction::Show { group } => show(&server, &group).await,
            ListenersAction::History(history) => history.run(&server).await,
        }
    }
}

impl ListListeners {
    async fn run(self, server: &Server) -> CommandEnd {
        let call = server.get(&["listeners"]);
        let call = call.maybe("class", self.class.as_ref()).maybe("bus", self.bus.as_ref());
        let answer = call.maybe("atVersion", self.at_version.as_ref()).send().await?;
        server.show(&answer, |json| {
            let mut listeners = json["listeners"].clone();
            for listener in listeners.as_array_mut().into_iter().flatten() {
                listener["state"] = state(listener).into();
            }
            let shown = [
                ("GROUP", "/group"),
                ("CLASS", "/class"),
                ("BUS", "/bus"),
                ("DELIVERY", "/delivery"),
                ("STATE", "/state"),
                ("ADDED BY", "/addedBy"),
                ("ADDED AT", "/addedAt"),
            ];
            let table = columns(&listeners, &shown, "no listeners");
            format!("{table}\n\nversion {}", json["version"])
        })?;
        Ok(DONE)
    }
}

/// Conditions of a listener in a few words, such as `Applying` or `Ready, Draining`. `Ready` that
/// does not hold is left out when another condition tells why.
fn state(listener: &Value) -> String {
    let conditions = listener["conditions"].as_array().into_iter().flatten();
    let held = conditions.clone().filter(|condition| condition["status"] == "true");
    let held: Vec<_> = held.filter_map(|condition| condition["type"].as_str()).collect();
    let ready = conditions.clone().find(|condition| condition["type"] == "Ready");
    match ready.map(|ready| (ready["status"].as_str(), ready["reason"].as_str())) {
        Some((Some("unknown"), _)) => [&["unknown"], held.as_slice()].concat().join(", "),
        Some((Some("false"), Some(reason @ ("no-node" | "impaired" | "starting")))) => {
            [&[reason], held.as_slice()].concat().join(", ")
        }
        _ => held.join(", "),
    }
}

/// Tells that the broker does not have a change yet. Returns the exit code: a command that waited
/// for the broker tells scripts, too, that the wait was in vain.
fn still_pending(wait: Option<Span>) -> u8 {
    remark(
        "the broker does not have the change yet, and hearken goes on by itself; hearken listeners show tells when it has, or what hinders it",
    );
    if wait.is_some() { PENDING } else { DONE }
}

async fn show(server: &Server, group: &GroupName) -> CommandEnd {
    let answer = server.get(&["listeners", group.as_str()]).send().await?;
    let first = [
        "group",
        "class",
        "bus",
        "delivery",
        "mode",
        "paused",
        "topology",
        "conditions",
        "backlog",
    ];
    server.show(&answer, |json| details(json, &first))?;
    Ok(DONE)
}
