//! `hearken listeners history`.

use crate::{
    cli::{
        client::Server,
        error::{CliError, CommandEnd, DONE},
        output::{columns, print},
    },
    domain::{event::Version, name::GroupName},
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct ShowHistory {
    /// List only events after this version
    #[arg(long, value_name = "VERSION")]
    after: Option<Version>,
    /// List only events about this group
    #[arg(long)]
    group: Option<GroupName>,
    /// List only events by this author
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// List only events recorded at this time or later, such as 2026-11-21T05:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// List only events recorded before this time
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// List at most this many events in one answer
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// List everything; with --output json, each of the server's answers is one line
    #[arg(long)]
    all: bool,
}

impl ShowHistory {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let mut after = self.after;
        loop {
            let call = server.get(&["listeners", "history"]).maybe("after", after.as_ref());
            let call = call.maybe("group", self.group.as_ref()).maybe("actor", self.actor.as_ref());
            let call = call.maybe("since", self.since.as_ref()).maybe("until", self.until.as_ref());
            let answer = call.maybe("limit", self.limit.as_ref()).send().await?;
            let json = answer.json()?;
            let next = json["next"].as_u64();
            if server.prints_json() {
                print(&answer.text)?;
            } else {
                print(&page(&json))?;
            }
            match next {
                Some(next) if !self.all => {
                    if !server.prints_json() {
                        print(&format!(
                            "\nmore events follow: continue with --after {next}, or list everything with --all"
                        ))?;
                    }
                    return Ok(DONE);
                }
                None => return Ok(DONE),
                Some(next) if after.is_some_and(|after| next <= after) => {
                    return Err(CliError::Failed(format!(
                        "the server's history does not advance: the page after version {next} names {next} as the next version again"
                    )));
                }
                next => after = next,
            }
        }
    }
}

fn page(json: &Value) -> String {
    let shown = [
        ("VERSION", "/version"),
        ("WHEN", "/recordedAt"),
        ("WHAT", "/type"),
        ("SUBJECT", "/subject"),
        ("PENDING", "/pending"),
        ("WHO", "/actor"),
        ("WHERE", "/node/id"),
        ("WHY", "/reason"),
    ];
    let mut events = json["events"].clone();
    for event in events.as_array_mut().into_iter().flatten() {
        event["subject"] = subject(event);
    }
    columns(&events, &shown, "no events")
}

/// Name of the group or of the bus that an event is about.
fn subject(event: &Value) -> Value {
    let names = ["/group", "/bus/name"];
    names.iter().find_map(|name| event.pointer(name)).cloned().unwrap_or_default()
}
