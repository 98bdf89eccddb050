//! `hearken events tail`.

use crate::{
    cli::{
        client::Server,
        error::{CliError, CommandEnd},
        output::{cell, print},
        sse::{self, SseMessage},
        terminal::{clean, remark},
    },
    domain::name::{BusName, RegistrationKey},
};
use clap::Args;
use reqwest::header::ACCEPT;
use serde_json::Value;

const EXAMPLES: &str = "\
Each event is printed at most once. Events that come while the connection is lost are missed, and a
remark says so. With --output json, a line is {\"keys\": […], \"event\": {…}}.

Examples:
  hearken events tail mailboxEvent --key MailboxIdRegistrationKey:18
  hearken events tail jmapEvent --key AccountIdRegistrationKey:bob --output json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TailEvents {
    /// Bus to follow
    bus: BusName,
    /// Registration key to follow; may be repeated
    #[arg(long = "key", value_name = "KEY", required = true, value_parser = super::key)]
    keys: Vec<RegistrationKey>,
}

impl TailEvents {
    /// Prints notifications as they come and reconnects after a break, until the output is closed.
    pub(super) async fn run(&self, server: &Server) -> CommandEnd {
        let ended = "the stream ended; connecting again; events may be missed until then";
        let open = async |_: Option<&str>| self.open(server).await;
        sse::follow(open, |message| show(server, message), ended).await
    }

    async fn open(&self, server: &Server) -> Result<reqwest::Response, CliError> {
        let call = server.get(&["events", self.bus.as_str(), "notifications"]);
        let call = self.keys.iter().fold(call, |call, key| call.query("key", key.as_str()));
        call.header(ACCEPT, "text/event-stream")?.stream().await
    }
}

fn show(server: &Server, message: &SseMessage) -> Result<(), CliError> {
    match message.event.as_str() {
        "notification" if server.prints_json() => print(&message.data),
        "notification" => {
            let json: Value = serde_json::from_str(&message.data).unwrap_or_default();
            let event = &json["event"];
            let cells = [&json["keys"], &event["type"], &event["id"], &event["user"]];
            let cells: Vec<String> =
                cells.into_iter().map(cell).filter(|cell| !cell.is_empty()).collect();
            print(&cells.join("  "))
        }
        "resynchronise" => {
            remark("events may have been missed; read again everything that depends on them");
            Ok(())
        }
        other => print(&format!("{} {}", clean(other), clean(&message.data))),
    }
}
