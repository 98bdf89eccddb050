//! `hearken listeners history`.

use crate::{
    cli::{
        client::Server,
        error::{CliError, DONE, Outcome},
        output::{columns, print},
    },
    domain::event::Version,
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct History {
    /// Only what happened after this version
    #[arg(long, value_name = "VERSION")]
    after: Option<Version>,
    /// At most so many in one answer
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Go on to the end; with --output json each of the server's answers is one line
    #[arg(long)]
    all: bool,
}

impl History {
    pub(super) async fn run(self, server: &Server) -> Outcome {
        let mut after = self.after;
        loop {
            let call = server.get(&["listeners", "history"]).maybe("after", after.as_ref());
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
                        print(&format!("\nthere is more: --after {next}, or --all"))?;
                    }
                    return Ok(DONE);
                }
                None => return Ok(DONE),
                Some(next) if after.is_some_and(|after| next <= after) => {
                    return Err(CliError::Failed(format!(
                        "the server's history does not go on: after version {next} it says to go on after {next}"
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
        ("GROUP", "/group"),
        ("PENDING", "/pending"),
        ("WHO", "/actor"),
        ("WHERE", "/node/id"),
        ("WHY", "/reason"),
    ];
    columns(&json["events"], &shown, "nothing happened")
}
