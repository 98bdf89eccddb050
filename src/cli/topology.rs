//! `hearken topology`.

mod reconcile;
mod watch;

use super::{
    client::{Answer, Remote, Server},
    error::{CliError, DONE, Outcome},
    output::{columns, details, print, table},
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

const EXAMPLES: &str = "\
Examples:
  hearken topology show         how it is, and every object
  hearken topology drift        what differs
  hearken topology plan         what reconciling would do
  hearken topology reconcile    do it, and wait for the end
  hearken topology watch        a line for each change, until interrupted";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Topology {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// How the topology is, and every object that ought to be or is on the broker
    Show,
    /// What differs between what ought to be and what is
    Drift,
    /// What reconciling would do; changes nothing
    Plan,
    /// Make the broker match the roster
    Reconcile(reconcile::Reconcile),
    /// Print a line for each change, until interrupted
    Watch,
}

impl Topology {
    pub(super) async fn run(self) -> Outcome {
        let server = self.remote.server()?;
        match self.command {
            Command::Show => {
                let answer = observe(&server).await?;
                server.show(&answer, |json| format!("{}\n\n{}", status(json), objects(json)))?;
            }
            Command::Drift => drift(&server).await?,
            Command::Plan => plan(&server).await?,
            Command::Reconcile(reconcile) => return reconcile.run(&server).await,
            Command::Watch => return watch::run(&server).await,
        }
        Ok(DONE)
    }
}

async fn observe(server: &Server) -> Result<Answer, CliError> {
    server.get(&["topology"]).send().await
}

async fn drift(server: &Server) -> Result<(), CliError> {
    /// Keeps the server's own text of the part that is printed.
    #[derive(Deserialize)]
    struct Part<'a> {
        #[serde(borrow)]
        drift: &'a RawValue,
    }
    let answer = observe(server).await?;
    if server.prints_json() {
        let part: Part<'_> = serde_json::from_str(&answer.text)
            .map_err(|error| CliError::Failed(format!("the answer has no drift: {error}")))?;
        return print(part.drift.get());
    }
    let shown = [
        ("DRIFT", "/kind"),
        ("OBJECT", "/object"),
        ("NAME", "/name"),
        ("REMEDY", "/remedy"),
        ("SINCE", "/since"),
    ];
    print(&columns(&answer.json()?["drift"], &shown, "no drift"))
}

async fn plan(server: &Server) -> Result<(), CliError> {
    let call = server.call(Method::POST, &["topology"]).query("action", "reconcile");
    let answer = call.query("dryRun", "true").send().await?;
    server.show(&answer, |json| {
        let shown = [
            ("ACTION", "/action"),
            ("OBJECT", "/object"),
            ("NAME", "/name"),
            ("CLASS", "/class"),
            ("REASON", "/reason"),
        ];
        columns(&json["steps"], &shown, "nothing to do")
    })
}

fn status(json: &Value) -> String {
    let drift = json["drift"].as_array().map_or(0, Vec::len);
    let mut status = json["status"].clone();
    status["drift"] = drift.into();
    details(&status, &["state", "rosterVersion", "reconciledVersion", "observedAt", "drift"])
}

/// Every object that ought to be or is there, with what of the two holds.
fn objects(json: &Value) -> String {
    let mut all = BTreeMap::<(&str, String), (bool, bool)>::new();
    for (side, desired) in [("desired", true), ("observed", false)] {
        for (kind, member) in
            [("exchange", "exchanges"), ("queue", "queues"), ("binding", "bindings")]
        {
            for object in json[side][member].as_array().into_iter().flatten() {
                let present = all.entry((kind, name(object))).or_default();
                if desired { present.0 = true } else { present.1 = true }
            }
        }
    }
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let rows = all.into_iter().map(|((kind, name), (desired, observed))| {
        [kind.to_owned(), super::output::clean(&name), yes(desired), yes(observed)]
    });
    table(&["OBJECT", "NAME", "DESIRED", "OBSERVED"], rows, "no objects")
}

/// An object's name; a binding's is what it leads from and to, with its key, as drift has it.
fn name(object: &Value) -> String {
    let text = |member: &str| object[member].as_str().unwrap_or_default();
    match object["name"].as_str() {
        Some(name) => name.to_owned(),
        None => format!("{} -> {} [{}]", text("source"), text("destination"), text("routing_key")),
    }
}
