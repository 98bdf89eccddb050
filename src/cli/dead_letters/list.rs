//! `hearken dead-letters list`.

use super::Filters;
use crate::{
    cli::{
        client::Server,
        error::{CliError, DONE, Outcome},
        output::{columns, print},
    },
    domain::name::GroupName,
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only entries of this group
    #[arg(long)]
    group: Option<GroupName>,
    #[command(flatten)]
    filters: Filters,
    /// At most so many in one answer
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Go on after this place, as the end of a listing names it
    #[arg(long, value_name = "PLACE")]
    after: Option<u64>,
    /// Go on to the end; with --output json each of the server's answers is one line
    #[arg(long)]
    all: bool,
}

impl List {
    pub(super) async fn run(self, server: &Server) -> Outcome {
        let mut after = self.after;
        loop {
            let call = self.filters.on(server.get(&["events", "deadLetter"]));
            let call = call.maybe("group", self.group.as_ref()).maybe("after", after.as_ref());
            let answer = call.maybe("limit", self.limit.as_ref()).send().await?;
            let json = answer.json()?;
            if server.prints_json() {
                print(&answer.text)?;
            } else {
                print(&page(&json))?;
            }
            match json["next"].as_u64() {
                None => return Ok(DONE),
                Some(next) if !self.all => {
                    if !server.prints_json() {
                        print(&format!("\nthere is more: --after {next}, or --all"))?;
                    }
                    return Ok(DONE);
                }
                Some(next) if after.is_some_and(|after| next <= after) => {
                    return Err(CliError::Failed(format!(
                        "the server's list does not go on: after {next} it says to go on after {next}"
                    )));
                }
                next => after = next,
            }
        }
    }
}

fn page(json: &Value) -> String {
    let shown = [
        ("ID", "/insertionId"),
        ("GROUP", "/group"),
        ("TYPE", "/eventType"),
        ("TRIES", "/attempts"),
        ("FAILED", "/lastFailedAt"),
        ("CAUSE", "/cause"),
    ];
    columns(&json["deadLetters"], &shown, "no dead letters")
}
