//! `hearken events tail`.

use crate::{
    cli::{
        client::Server,
        error::{CliError, Outcome},
        output::{cell, clean, print, remark},
        sse::{self, Message},
    },
    domain::name::{BusName, RegistrationKey},
};
use clap::Args;
use reqwest::header::ACCEPT;
use serde_json::Value;

const EXAMPLES: &str = "\
Each event is printed at most once: what comes while the connection is lost is missed, and said to
be. With --output json a line is {\"keys\": […], \"event\": {…}}.

Examples:
  hearken events tail mailboxEvent --key MailboxIdRegistrationKey:18
  hearken events tail jmapEvent --key AccountIdRegistrationKey:bob --output json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Tail {
    /// The bus
    bus: BusName,
    /// A registration key to follow; may be repeated
    #[arg(long = "key", value_name = "KEY", required = true, value_parser = key)]
    keys: Vec<RegistrationKey>,
}

fn key(text: &str) -> Result<RegistrationKey, String> {
    RegistrationKey::parse(text).map_err(|error| error.to_string())
}

impl Tail {
    /// Prints notifications as they come, and comes back after a break, until nobody reads.
    pub(super) async fn run(&self, server: &Server) -> Outcome {
        let ended = "the stream ended; connecting again; events may be missed meanwhile";
        let open = async |_: Option<&str>| self.open(server).await;
        sse::follow(open, |message| show(server, message), ended).await
    }

    async fn open(&self, server: &Server) -> Result<reqwest::Response, CliError> {
        let call = server.get(&["events", self.bus.as_str(), "notifications"]);
        let call = self.keys.iter().fold(call, |call, key| call.query("key", key.as_str()));
        call.header(ACCEPT, "text/event-stream")?.stream().await
    }
}

fn show(server: &Server, message: &Message) -> Result<(), CliError> {
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
            remark("events may have been missed; read anew what depends on them");
            Ok(())
        }
        other => print(&format!("{} {}", clean(other), clean(&message.data))),
    }
}
