//! `hearken buses`.

use super::{
    client::{Remote, Server},
    error::{CommandEnd, DONE},
    output::{columns, print},
};
use crate::domain::name::BusName;
use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value, json};

const EXAMPLES: &str = "\
Examples:
  hearken buses list
  hearken buses add billing --reason CHG-1234
  hearken buses add james --codec james --exchange mailboxEvent-exchange
  hearken buses change billing --codec msgpack
  hearken buses remove billing --reason CHG-1235";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct BusesCommand {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: BusesAction,
}

#[derive(Debug, Subcommand)]
enum BusesAction {
    /// List the buses
    List,
    /// Add a bus; every node takes it up without a restart
    Add(AddBusCommand),
    /// Change the form in which the events of a bus are written
    Change(ChangeBusCommand),
    /// Remove a bus that no listener and no queue uses
    Remove(RemoveBusCommand),
}

#[derive(Debug, Args)]
struct AddBusCommand {
    /// Name of the bus
    name: BusName,
    /// Form in which the events of the bus are written [default: json]
    #[arg(long, value_parser = ["json", "msgpack", "james"])]
    codec: Option<String>,
    /// Exchange of another program that the bus is attached to
    #[arg(long, value_name = "EXCHANGE")]
    exchange: Option<String>,
    /// Reason for the addition, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct ChangeBusCommand {
    /// Name of the bus
    name: BusName,
    /// Form in which the events of the bus are written
    #[arg(long, value_parser = ["json", "msgpack", "james"])]
    codec: String,
    /// Reason for the change, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Debug, Args)]
struct RemoveBusCommand {
    /// Name of the bus
    name: BusName,
    /// Reason for the removal, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

impl BusesCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.server()?;
        match self.command {
            BusesAction::List => list(&server).await,
            BusesAction::Add(command) => command.run(&server).await,
            BusesAction::Change(command) => command.run(&server).await,
            BusesAction::Remove(command) => command.run(&server).await,
        }
    }
}

async fn list(server: &Server) -> CommandEnd {
    let answer = server.get(&["buses"]).send().await?;
    let shown = [
        ("BUS", "/name"),
        ("CODEC", "/codec"),
        ("EXCHANGE", "/exchange"),
        ("LISTENERS", "/listeners"),
        ("ADDED", "/addedAt"),
        ("BY", "/addedBy"),
        ("REASON", "/reason"),
    ];
    server.show(&answer, |json| columns(&json["buses"], &shown, "no buses"))?;
    Ok(DONE)
}

impl ChangeBusCommand {
    async fn run(self, server: &Server) -> CommandEnd {
        let body = json!({ "codec": self.codec, "reason": self.reason }).to_string();
        let call = server.call(Method::PUT, &["buses", self.name.as_str()]);
        let answer = call.body("application/json", body.into_bytes())?.send().await?;
        server.show(&answer, |_| format!("changed bus {}", self.name))?;
        Ok(DONE)
    }
}

impl RemoveBusCommand {
    async fn run(self, server: &Server) -> CommandEnd {
        let call = server.call(Method::DELETE, &["buses", self.name.as_str()]);
        let answer = call.maybe("reason", self.reason.as_ref()).send().await?;
        if server.prints_json() {
            // The answer has an empty body.
            print(&answer.text)?;
        } else {
            print(&format!("removed bus {}", self.name))?;
        }
        Ok(DONE)
    }
}

impl AddBusCommand {
    async fn run(self, server: &Server) -> CommandEnd {
        let body = Value::from(self.body()).to_string();
        let call = server.call(Method::POST, &["buses"]);
        let answer = call.body("application/json", body.into_bytes())?.send().await?;
        server.show(&answer, |_| format!("added bus {}", self.name))?;
        Ok(DONE)
    }

    fn body(&self) -> Map<String, Value> {
        let mut body = Map::from_iter([("name".to_owned(), self.name.as_str().into())]);
        if self.exchange.is_some() {
            body.insert("attached".to_owned(), true.into());
        }
        let texts =
            [("codec", &self.codec), ("exchange", &self.exchange), ("reason", &self.reason)];
        for (member, text) in texts {
            body.extend(text.as_deref().map(|text| (member.to_owned(), text.into())));
        }
        body
    }
}
