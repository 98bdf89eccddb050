//! `hearken topology watch`.

use super::sse::{Message, Reader};
use crate::cli::{
    client::Server,
    error::{CliError, Outcome},
    output::{cell, clean, print, remark},
};
use futures_util::StreamExt;
use reqwest::header::{ACCEPT, HeaderName};
use serde_json::Value;
use std::time::Duration;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// The server sends a comment at least every 15 seconds: a stream that is silent for so long is
/// dead, whatever the connection says.
const SILENCE: Duration = Duration::from_secs(45);

/// The pause before the first new attempt, where the server asks for none.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause between attempts.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Prints changes as they come, and comes back after a break, until nobody reads.
pub(super) async fn run(server: &Server) -> Outcome {
    let mut reader = Reader::default();
    // At the start there is nobody to come back to: a wrong address is an error.
    let mut stream = Some(open(server, None).await?);
    let mut pause = FIRST_PAUSE;
    loop {
        if let Some(mut response) = stream.take().map(reqwest::Response::bytes_stream) {
            while let Ok(Some(Ok(piece))) = tokio::time::timeout(SILENCE, response.next()).await {
                pause = FIRST_PAUSE;
                for message in reader.read(&piece) {
                    show(server, &message)?;
                }
            }
            remark("the stream ended; connecting again");
            reader.restart();
        }
        tokio::time::sleep(reader.retry.unwrap_or(pause).max(pause).min(LONGEST_PAUSE)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
        match open(server, reader.last_id.as_deref()).await {
            Ok(response) => stream = Some(response),
            // A stream that the server refuses does not become right by asking again.
            Err(CliError::Answered(problem)) if problem.is_refusal() => {
                return Err(CliError::Answered(problem));
            }
            Err(error) => remark(&format!("{error}; trying again")),
        }
    }
}

async fn open(server: &Server, last_id: Option<&str>) -> Result<reqwest::Response, CliError> {
    let mut call = server.get(&["topology", "changes"]).header(ACCEPT, "text/event-stream")?;
    if let Some(id) = last_id.filter(|id| !id.is_empty()) {
        call = call.header(LAST_EVENT_ID, id)?;
    }
    call.stream().await
}

fn show(server: &Server, message: &Message) -> Result<(), CliError> {
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
            "version {} resync: the history is another one than before; read the roster again",
            cell(&json["version"])
        ),
        other => format!("{} {}", clean(other), clean(&message.data)),
    };
    print(&line)
}
