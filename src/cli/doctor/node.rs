//! Checks of the node of these settings, if it runs already.

use super::{DoctorCommand, Findings};
use crate::{
    cli::{
        client::{Remote, Server},
        error::CliError,
        output::{Format, cell},
    },
    config::Serve,
};
use reqwest::StatusCode;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Whether a node answers at the address of the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NodePresence {
    /// A node answers.
    Answers,
    /// No node answers.
    Absent,
}

/// Asks the node whether it is ready, and compares the versions of the nodes.
pub(super) async fn examine(
    doctor: &DoctorCommand,
    settings: &Serve,
    findings: &mut Findings,
) -> Result<NodePresence, CliError> {
    let server = remote(doctor, settings).open_server()?;
    let unwell = |status| status == StatusCode::SERVICE_UNAVAILABLE;
    let answer = match server.get(&["readyz"]).send_accepting(unwell).await {
        Ok(answer) => answer,
        Err(CliError::Unreachable { .. }) => {
            let text =
                format!("no node runs at {}; that is fine before the first start", server.base());
            findings.note("node", Ok(text))?;
            return Ok(NodePresence::Absent);
        }
        Err(error) => {
            let text =
                format!("the program that answers at {} is not hearken: {error}", server.base());
            findings.note("node", Err(text))?;
            return Ok(NodePresence::Absent);
        }
    };
    let json = answer.json()?;
    let state = format!("{} is {}", server.base(), cell(&json["state"]));
    let waiting = json["listeners"].as_array().into_iter().flatten();
    let waiting = waiting.map(|listener| {
        let [group, state, cause] = ["group", "state", "cause"].map(|name| cell(&listener[name]));
        format!("; {group} is {state}: {cause}")
    });
    let text = waiting.fold(state, |text, more| text + &more);
    findings.note("node", if json["state"] == "ready" { Ok(text) } else { Err(text) })?;
    versions(doctor, settings, findings).await?;
    topology(doctor, settings, findings).await?;
    Ok(NodePresence::Answers)
}

/// Tells whether the broker matches the roster. Names the orphans, or the other sign that the
/// database is older than the broker, and the page with the drill. Needs a token.
async fn topology(
    doctor: &DoctorCommand,
    settings: &Serve,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let health = async {
        let server: Server = remote(doctor, settings).server()?;
        let call = server.get(&["healthcheck", "checks", "Listener topology"]);
        call.send_accepting(|status| status == StatusCode::SERVICE_UNAVAILABLE).await?.json()
    };
    let text = match health.await {
        Ok(json) if json["status"] == "healthy" => {
            return findings.note("topology", Ok("the broker matches the roster".into()));
        }
        Ok(json) => cell(&json["cause"]),
        Err(error) => format!("the node does not tell its health: {error}"),
    };
    let hint = "hearken topology queues --kind orphan lists the orphans and what to do about each; docs/operations.md has the drill";
    let is_restrained = text.contains("orphan") || text.contains("history");
    findings.note("topology", Err(if is_restrained { format!("{text}; {hint}") } else { text }))
}

/// Compares the versions of the nodes with the version of this program. Needs a token.
async fn versions(
    doctor: &DoctorCommand,
    settings: &Serve,
    findings: &mut Findings,
) -> Result<(), CliError> {
    let own = env!("CARGO_PKG_VERSION");
    let nodes = async {
        let server: Server = remote(doctor, settings).server()?;
        server.get(&["nodes"]).send().await?.json()
    };
    let json = match nodes.await {
        Ok(json) => json,
        Err(error) => {
            let text =
                format!("the node does not list the nodes of the cluster with this token: {error}");
            return findings.note("versions", Err(text));
        }
    };
    let nodes = json["nodes"].as_array().into_iter().flatten();
    let nodes = nodes.filter(|node| node["state"] != "gone");
    let (same, other): (Vec<_>, Vec<_>) = nodes.partition(|node| node["version"] == own);
    let list = |nodes: &[&serde_json::Value]| {
        let list =
            nodes.iter().map(|node| format!("{} {}", cell(&node["id"]), cell(&node["version"])));
        list.collect::<Vec<_>>().join(", ")
    };
    findings.note(
        "versions",
        if other.is_empty() {
            Ok(format!("this is hearken {own}; nodes: {}", list(&same)))
        } else {
            Err(format!(
                "this is hearken {own}, and these nodes run other versions: {}; upgrade them",
                list(&other)
            ))
        },
    )
}

/// Way to the node: the address of the settings, and the first token that is given.
fn remote(doctor: &DoctorCommand, settings: &Serve) -> Remote {
    let mut address = settings.listen;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    let file = settings.admin_token_file.as_ref();
    let from_file =
        || file.and_then(|file| Some(std::fs::read_to_string(file).ok()?.trim().to_owned()));
    let token = doctor.token.clone().filter(|token| !token.is_empty());
    Remote {
        url: doctor.url.clone().unwrap_or_else(|| format!("http://{address}")),
        token: token.or_else(from_file),
        data_dir: Some(settings.data_dir.clone()),
        output: Format::Table,
    }
}
