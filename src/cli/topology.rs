//! `hearken topology`.

mod passes;
mod queues;
mod reconcile;
mod release;
mod watch;

use super::{
    client::{Answer, Remote, Server},
    error::{CliError, CommandEnd, DONE},
    output::{columns, details, print, table},
    terminal::clean,
};
use clap::{Args, Subcommand};
use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, value::RawValue};
use std::collections::BTreeMap;

const EXAMPLES: &str = "\
Examples:
  hearken topology show         the state, and every object
  hearken topology drift        the differences
  hearken topology plan         the steps of a reconciliation, without doing them
  hearken topology reconcile    do these steps, and wait for the end
  hearken topology passes       what was done to the broker
  hearken topology queues --kind orphan
                                the orphans, and what can be done about each
  hearken topology release hearken.mailboxEvent.work.old.v1
                                delete this orphan with the events in it
  hearken topology watch        a line for each change, until interrupted";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct TopologyCommand {
    #[command(flatten)]
    remote: Remote,
    #[command(subcommand)]
    command: TopologyAction,
}

#[derive(Debug, Subcommand)]
enum TopologyAction {
    /// Show the state of the topology, and every object that is desired or observed
    Show,
    /// Show the differences between the desired and the observed topology
    Drift,
    /// Show the steps that reconcile would take; changes nothing
    Plan,
    /// Make the broker match the roster
    Reconcile(reconcile::ReconcileTopology),
    /// List what the passes did to the broker, step by step, oldest first
    Passes(passes::ListPasses),
    /// List the queues with their counts, and what can be done about them
    Queues(queues::ListQueues),
    /// Let an orphan go: the queue is deleted with the events in it
    Release(release::ReleaseQueue),
    /// Print a line for each change, until interrupted
    Watch,
}

impl TopologyCommand {
    pub(super) async fn run(self) -> CommandEnd {
        let server = self.remote.server()?;
        match self.command {
            TopologyAction::Show => {
                let answer = observe(&server).await?;
                server.show(&answer, |json| format!("{}\n\n{}", status(json), objects(json)))?;
            }
            TopologyAction::Drift => drift(&server).await?,
            TopologyAction::Plan => plan(&server).await?,
            TopologyAction::Reconcile(reconcile) => return reconcile.run(&server).await,
            TopologyAction::Passes(passes) => return passes.run(&server).await,
            TopologyAction::Queues(queues) => return queues.run(&server).await,
            TopologyAction::Release(release) => return release.run(&server).await,
            TopologyAction::Watch => return watch::run(&server).await,
        }
        Ok(DONE)
    }
}

async fn observe(server: &Server) -> Result<Answer, CliError> {
    server.get(&["topology"]).send().await
}

async fn drift(server: &Server) -> Result<(), CliError> {
    /// The drift in the server's own text, which is printed unchanged.
    #[derive(Deserialize)]
    struct DriftText<'a> {
        #[serde(borrow)]
        drift: &'a RawValue,
    }
    let answer = observe(server).await?;
    if server.prints_json() {
        let part: DriftText<'_> = serde_json::from_str(&answer.text)
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

/// Where an object of the topology exists.
#[derive(Default)]
struct Existence {
    desired: bool,
    observed: bool,
}

/// Table of every object that is desired or observed.
fn objects(json: &Value) -> String {
    let mut found = BTreeMap::<(&str, String), Existence>::new();
    for side in ["desired", "observed"] {
        for (kind, member) in
            [("exchange", "exchanges"), ("queue", "queues"), ("binding", "bindings")]
        {
            for object in json[side][member].as_array().into_iter().flatten() {
                let existence = found.entry((kind, name(object))).or_default();
                existence.desired |= side == "desired";
                existence.observed |= side == "observed";
            }
        }
    }
    let yes = |is: bool| if is { "yes" } else { "no" }.to_owned();
    let rows = found.into_iter().map(|((kind, name), existence)| {
        [kind.to_owned(), clean(&name), yes(existence.desired), yes(existence.observed)]
    });
    table(&["OBJECT", "NAME", "DESIRED", "OBSERVED"], rows, "no objects")
}

/// Name of an object. A binding is named by source, destination and routing key, as in drift.
fn name(object: &Value) -> String {
    let text = |member: &str| object[member].as_str().unwrap_or_default();
    match object["name"].as_str() {
        Some(name) => name.to_owned(),
        None => format!("{} -> {} [{}]", text("source"), text("destination"), text("routing_key")),
    }
}
