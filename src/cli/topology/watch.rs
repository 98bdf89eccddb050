//! `hearken topology watch`.

use crate::cli::{
    client::Server,
    error::{CliError, CommandEnd},
    output::{cell, print},
    sse::{self, SseMessage},
    terminal::clean,
};
use reqwest::header::{ACCEPT, HeaderName};
use serde_json::Value;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Prints changes as they come and reconnects after a break, until the output is closed.
pub(super) async fn run(server: &Server) -> CommandEnd {
    let ended = "the stream ended; connecting again";
    sse::follow(async |last| open(server, last).await, |message| show(server, message), ended).await
}

async fn open(server: &Server, last_id: Option<&str>) -> Result<reqwest::Response, CliError> {
    let mut call = server.get(&["topology", "changes"]).header(ACCEPT, "text/event-stream")?;
    if let Some(id) = last_id.filter(|id| !id.is_empty()) {
        call = call.header(LAST_EVENT_ID, id)?;
    }
    call.stream().await
}

fn show(server: &Server, message: &SseMessage) -> Result<(), CliError> {
    if server.prints_json() {
        return print(&message.data);
    }
    let json: Value = serde_json::from_str(&message.data).unwrap_or_default();
    let line = match message.event.as_str() {
        "TopologyChanged" => {
            let mut line = format!("version {} bus {}", cell(&json["version"]), cell(&json["bus"]));
            for what in ["added", "removed"] {
                let groups = cell(&json[what]);
                if !groups.is_empty() {
                    line.extend([" ", what, " ", &groups]);
                }
            }
            line
        }
        "resync" => format!(
            "version {} resync: the history was replaced by another; read the roster again",
            cell(&json["version"])
        ),
        other => format!("{} {}", clean(other), clean(&message.data)),
    };
    print(&line)
}
