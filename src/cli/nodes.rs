//! `hearken nodes`.

use super::{
    client::Remote,
    error::{CommandEnd, DONE},
    output::{cell, columns, table},
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct NodesCommand {
    #[command(flatten)]
    remote: Remote,
}

impl NodesCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.server()?;
        let answer = server.get(&["nodes"]).send().await?;
        server.show(&answer, |json| format!("{}{}", nodes(json), troubles(json)))?;
        Ok(DONE)
    }
}

fn nodes(json: &Value) -> String {
    let shown = [
        ("NODE", "/id"),
        ("HOST", "/host"),
        ("STATE", "/state"),
        ("HEARKEN", "/version"),
        ("ROSTER", "/rosterVersion"),
        ("STARTED", "/startedAt"),
        ("LAST SEEN", "/lastSeen"),
    ];
    columns(&json["nodes"], &shown, "no nodes")
}

/// Table of the listeners that do not run, with their nodes.
fn troubles(json: &Value) -> String {
    let nodes = json["nodes"].as_array().into_iter().flatten();
    let listeners = nodes.flat_map(|node| {
        node["listeners"].as_array().into_iter().flatten().map(move |listener| (node, listener))
    });
    let rows =
        listeners.filter(|(_, listener)| listener["state"] != "running").map(|(node, listener)| {
            let [group, class, state, cause] =
                ["group", "class", "state", "cause"].map(|name| cell(&listener[name]));
            [cell(&node["id"]), group, class, state, cause]
        });
    let below = table(&["NODE", "GROUP", "CLASS", "STATE", "CAUSE"], rows, "");
    if below.is_empty() { below } else { format!("\n\nnot running:\n{below}") }
}
