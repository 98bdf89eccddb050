//! `hearken events`.

mod tail;

use super::{
    client::Remote,
    error::{CliError, CommandEnd, DONE},
    listeners::loose_json,
    output::cell,
    terminal::remark,
};
use crate::{
    clock::Clock,
    domain::name::{BusName, KeyError, RegistrationKey},
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Value, json};
use std::io::{IsTerminal, Read};
use time::format_description::well_known::Rfc3339;
use uuid::Uuid;

/// Media type of one event in JSON.
const CLOUDEVENT: &str = "application/cloudevents+json";
/// Media type of several events in a JSON array.
const BATCH: &str = "application/cloudevents-batch+json";

#[derive(Debug, Args)]
pub(super) struct EventsCommand {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: EventsAction,
}

#[derive(Debug, Subcommand)]
enum EventsAction {
    /// Send an event to a bus
    Send(SendEvent),
    /// Print the events of the keys as they come
    Tail(tail::TailEvents),
}

const EXAMPLES: &str = "\
A file holds a CloudEvent in JSON or an array of CloudEvents; --content-type names another form.
--data is text, unless it is JSON or starts with {, [ or \".

Examples:
  hearken events send mailboxEvent --type demo --data '{\"hello\":\"world\"}'
  hearken events send mailboxEvent event.json
  hearken events send mailboxEvent - --content-type application/json < james-event.json";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct SendEvent {
    /// Bus that the event goes to
    bus: BusName,
    /// File with the event; - or no file reads standard input
    #[arg(conflicts_with_all = ["kind", "data", "id", "source", "user"])]
    file: Option<String>,
    /// Content type of the file
    #[arg(long, value_name = "TYPE", conflicts_with = "kind")]
    content_type: Option<String>,
    #[arg(
        long = "type",
        id = "kind",
        value_name = "TYPE",
        help = "Make a CloudEvent of this type instead of reading a file"
    )]
    kind: Option<String>,
    /// Data of the made event
    #[arg(long, requires = "kind", value_name = "JSON")]
    data: Option<String>,
    /// Id of the made event [default: a new UUID]
    #[arg(long, requires = "kind")]
    id: Option<String>,
    /// Source of the made event
    #[arg(long, requires = "kind", default_value = "urn:hearken:cli", value_name = "URI")]
    source: String,
    /// Registration key whose followers are notified; may be repeated
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Vec<RegistrationKey>,
    /// User that the made event is about
    #[arg(long, requires = "kind")]
    user: Option<String>,
}

/// Reads a registration key from an argument.
fn key(text: &str) -> Result<RegistrationKey, KeyError> {
    RegistrationKey::parse(text)
}

impl EventsCommand {
    pub(super) async fn run(self, clock: &Clock) -> CommandEnd {
        let server = self.remote.server()?;
        let send = match self.command {
            EventsAction::Send(send) => send,
            EventsAction::Tail(tail) => return tail.run(&server).await,
        };
        let (content_type, body) = match &send.kind {
            Some(kind) => (CLOUDEVENT.to_owned(), send.make(kind, clock)?.to_string().into_bytes()),
            None => send.read()?,
        };
        let mut call = server.call(Method::POST, &["events", send.bus.as_str()]);
        for key in &send.key {
            call = call.query("key", key.as_str());
        }
        let answer = call.body(&content_type, body)?.send().await?;
        server.show(&answer, |json| match &json["eventIds"] {
            Value::Null => format!("accepted {}", cell(&json["eventId"])),
            ids => format!("accepted {}", cell(ids)),
        })?;
        Ok(DONE)
    }
}

impl SendEvent {
    /// Makes a `CloudEvent` from the flags.
    fn make(&self, kind: &str, clock: &Clock) -> Result<Value, CliError> {
        let now = clock.now().format(&Rfc3339).expect("the years up to 9999 can be written");
        let id = self.id.clone().unwrap_or_else(|| Uuid::now_v7().to_string());
        let mut event = json!({
            "specversion": "1.0",
            "id": id,
            "source": self.source,
            "type": kind,
            "time": now,
        });
        if let Some(text) = &self.data {
            event["data"] = loose_json(text).map_err(|error| {
                CliError::Usage(format!("--data begins like JSON but is not valid JSON: {error}"))
            })?;
        }
        if let Some(user) = &self.user {
            event["user"] = user.as_str().into();
        }
        Ok(event)
    }

    /// Reads the event, and its content type, from the file or from standard input.
    fn read(&self) -> Result<(String, Vec<u8>), CliError> {
        let unreadable =
            |what: &str, error| CliError::Usage(format!("{what} cannot be read: {error}"));
        let body = match self.file.as_deref() {
            Some(path) if path != "-" => {
                std::fs::read(path).map_err(|error| unreadable(path, error))?
            }
            _ => {
                let mut input = std::io::stdin().lock();
                if input.is_terminal() {
                    remark("reading the event from the terminal; end it with Ctrl-D");
                }
                let mut body = Vec::new();
                input
                    .read_to_end(&mut body)
                    .map_err(|error| unreadable("standard input", error))?;
                body
            }
        };
        let first = body.trim_ascii_start().first();
        let own = if first == Some(&b'[') { BATCH } else { CLOUDEVENT };
        if first.is_none() {
            return Err(CliError::Usage(
                "there is no event: the file or standard input is empty".into(),
            ));
        }
        Ok((self.content_type.clone().unwrap_or_else(|| own.to_owned()), body))
    }
}
