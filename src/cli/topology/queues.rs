//! `hearken topology queues`.

use crate::cli::{
    client::Server,
    error::{CliError, CommandEnd, DONE},
    output::{columns, print},
};
use clap::Args;
use serde_json::Value;

#[derive(Debug, Args)]
pub(super) struct ListQueues {
    /// List only queues of this kind
    #[arg(long, value_parser = ["work", "kept", "draining", "orphan", "wait", "parked"], value_name = "KIND")]
    kind: Option<String>,
    /// List at most this many queues in one answer
    #[arg(long, value_name = "NUMBER")]
    limit: Option<u32>,
    /// Continue after this queue, which the end of the previous page names
    #[arg(long, value_name = "NAME")]
    after: Option<String>,
    /// List everything; with --output json, each of the server's answers is one line
    #[arg(long)]
    all: bool,
}

impl ListQueues {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let mut after = self.after;
        loop {
            let call = server.get(&["topology", "queues"]).maybe("kind", self.kind.as_ref());
            let call = call.maybe("after", after.as_ref()).maybe("limit", self.limit.as_ref());
            let answer = call.send().await?;
            let json = answer.json()?;
            if server.prints_json() {
                print(&answer.text)?;
            } else {
                print(&page(&json))?;
            }
            let Some(next) = json["next"].as_str().map(str::to_owned) else { return Ok(DONE) };
            if !self.all {
                if !server.prints_json() {
                    print(&format!(
                        "\nmore queues follow: continue with --after {next}, or list everything with --all"
                    ))?;
                }
                return Ok(DONE);
            }
            if after.is_some_and(|after| next <= after) {
                return Err(CliError::Failed(format!(
                    "the server's list does not advance: the page after {next} names {next} as the next position again"
                )));
            }
            after = Some(next);
        }
    }
}

/// Table of the queues, and below the table what can be done about each queue that asks for it.
fn page(json: &Value) -> String {
    let shown = [
        ("KIND", "/kind"),
        ("NAME", "/name"),
        ("READY", "/ready"),
        ("UNACKED", "/unacked"),
        ("CONSUMERS", "/consumers"),
        ("SINCE", "/since"),
        ("REMEDY", "/remedy"),
    ];
    let table = columns(&json["queues"], &shown, "no queues");
    let queues = json["queues"].as_array().into_iter().flatten();
    let asking: Vec<Value> = queues.filter(|queue| queue["advice"].is_string()).cloned().collect();
    if asking.is_empty() {
        return table;
    }
    let advice = [("NAME", "/name"), ("WHAT TO DO", "/advice")];
    format!("{table}\n\n{}", columns(&asking.into(), &advice, ""))
}
