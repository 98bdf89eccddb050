//! `hearken listeners add`.

use super::settings::{IDEMPOTENCY_KEY, ListenerSettings, given};
use super::still_pending;
use crate::{
    cli::{
        client::Server,
        error::{CliError, CommandEnd, DONE},
        output::cell,
    },
    domain::{
        name::{BusName, ClassName, GroupName},
        span::Span,
    },
};
use clap::Args;
use reqwest::Method;
use serde_json::{Value, json};

const EXAMPLES: &str = "\
The VALUE of --set is text, unless it is a JSON number, true, false, null, or starts with {, [ or \".

Examples:
  hearken listeners add --class log
  hearken listeners add --class webhook --group search-index \\
      --set url=http://indexer.internal/events --set 'secret={\"env\":\"INDEXER_SECRET\"}' \\
      --retry-attempts 12 --reason CHG-1234 --wait 5s";

#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct AddListener {
    /// Class that nodes instantiate the listener from; hearken classes lists the classes
    #[arg(long)]
    class: ClassName,
    /// Group, the identity of the listener [default: the name of the class]
    #[arg(long)]
    group: Option<GroupName>,
    /// Bus whose events the listener receives [default: mailboxEvent]
    #[arg(long)]
    bus: Option<BusName>,
    /// Whether one node of the cluster or every node executes an event [default: once]
    #[arg(long, value_parser = ["once", "every-node"], value_name = "HOW")]
    delivery: Option<String>,
    #[command(flatten)]
    settings: ListenerSettings,
    /// Reason for the change, kept in the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait at most this long, such as 5s, until the broker has the change
    #[arg(long, value_name = "TIME")]
    wait: Option<Span>,
    /// Key of the command: the server executes commands with the same key only once
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
}

impl AddListener {
    pub(super) async fn run(self, server: &Server) -> CommandEnd {
        let body = self.body()?;
        let mut call = server.call(Method::POST, &["listeners"]).maybe("wait", self.wait.as_ref());
        call = call.patience(self.wait.map(Span::duration).unwrap_or_default());
        call = call.body("application/json", body.to_string().into_bytes())?;
        if let Some(key) = &self.idempotency_key {
            call = call.header(IDEMPOTENCY_KEY, key)?;
        }
        let answer = call.send().await?;
        let pending = answer.json()?["topology"] != "converged";
        server.show(&answer, |json| {
            let [group, class, bus] = ["group", "class", "bus"].map(|name| cell(&json[name]));
            let topology = cell(&json["topology"]);
            format!("added {group} (class {class}, bus {bus}); topology {topology}")
        })?;
        Ok(if pending { still_pending(self.wait) } else { DONE })
    }

    /// Body with the given settings only: the server knows the defaults.
    fn body(&self) -> Result<Value, CliError> {
        let mut body = given([
            ("class", Some(json!(self.class))),
            ("group", self.group.as_ref().map(|group| json!(group))),
            ("bus", self.bus.as_ref().map(|bus| json!(bus))),
            ("delivery", self.delivery.clone().map(Value::from)),
            ("reason", self.reason.clone().map(Value::from)),
        ]);
        self.settings.write_to(&mut body)?;
        Ok(body.into())
    }
}
