//! `hearken dead-letters list`.

use super::DeadLetterFilters;
use crate::{
    cli::{
        client::Server,
        error::{CliError, CommandEnd, DONE},
        output::{columns, print},
    },
    domain::name::GroupName,
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct ListDeadLetters {
    /// List only entries of this group
    #[arg(long)]
    group: Option<GroupName>,
    #[command(flatten)]
    filters: DeadLetterFilters,
    /// List at most this many entries in one answer
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Continue after this position, which the end of the previous page names
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// List everything; with --output json, each of the server's answers is one line
    #[arg(long)]
    all: bool,
}

impl ListDeadLetters {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let mut after = self.after;
        loop {
            let call = self.filters.apply_to(server.get(&["events", "deadLetter"]));
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
                        print(&format!(
                            "\nmore entries follow: continue with --after {next}, or list everything with --all"
                        ))?;
                    }
                    return Ok(DONE);
                }
                Some(next) if after.is_some_and(|after| next <= after) => {
                    return Err(CliError::Failed(format!(
                        "the server's list does not advance: the page after {next} names {next} as the next position again"
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
