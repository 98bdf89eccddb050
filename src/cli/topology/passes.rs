//! `hearken topology passes`.

use crate::cli::{
    client::Server,
    error::{CliError, CommandEnd, DONE},
    output::{cell, print, table},
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct ListPasses {
    /// List only passes after the pass with this number
    #[arg(long, value_name = "NUMBER")]
    after: Option<u64>,
    /// List at most this many passes
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
}

impl ListPasses {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let call = server.get(&["topology", "passes"]).maybe("after", self.after.as_ref());
        let answer = call.maybe("limit", self.limit.as_ref()).send().await?;
        server.show(&answer, steps)?;
        if !server.prints_json() {
            print_next(&answer.json()?)?;
        }
        Ok(DONE)
    }
}

fn print_next(json: &Value) -> Result<(), CliError> {
    match json["next"].as_u64() {
        Some(next) => print(&format!("\nmore passes follow: continue with --after {next}")),
        None => Ok(()),
    }
}

/// Table with one line for each step.
fn steps(json: &Value) -> String {
    let passes = json["passes"].as_array().into_iter().flatten();
    let rows = passes.flat_map(|pass| {
        let shown = [&pass["id"], &pass["startedAt"], &pass["node"]["id"], &pass["state"]];
        let pass_cells = shown.map(cell);
        pass["steps"].as_array().into_iter().flatten().map(move |step| {
            let [id, started, node, state] = pass_cells.clone();
            let [action, name, outcome] =
                ["action", "name", "outcome"].map(|part| cell(&step[part]));
            [id, started, node, state, action, name, outcome]
        })
    });
    let head = ["PASS", "STARTED", "NODE", "STATE", "ACTION", "NAME", "OUTCOME"];
    table(&head, rows, "no pass changed anything")
}
