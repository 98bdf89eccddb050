//! The node itself, where it runs already.

use super::{Doctor, Findings};
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

/// Whether a node runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Running {
    /// It answers.
    Yes,
    /// Nothing answers.
    No,
}

pub(super) async fn examine(
    doctor: &Doctor,
    settings: &Serve,
    findings: &mut Findings,
) -> Result<Running, CliError> {
    let server = remote(doctor, settings).open_server()?;
    let unwell = |status| status == StatusCode::SERVICE_UNAVAILABLE;
    let answer = match server.get(&["readyz"]).send_accepting(unwell).await {
        Ok(answer) => answer,
        Err(CliError::Unreachable { .. }) => {
            let text =
                format!("none runs at {}; that is all right before it is started", server.base());
            findings.note("node", Ok(text))?;
            return Ok(Running::No);
        }
        Err(error) => {
            let text = format!("what answers at {} is not hearken: {error}", server.base());
            findings.note("node", Err(text))?;
            return Ok(Running::No);
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
    findings.note("node", if answer.status.is_success() { Ok(text) } else { Err(text) })?;
    versions(doctor, settings, findings).await?;
    Ok(Running::Yes)
}

/// Compares the nodes' versions with this program's, where there is a token to ask with.
async fn versions(
    doctor: &Doctor,
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
            let text = format!("the nodes cannot be asked with this token: {error}");
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
                "this is hearken {own}, and these nodes are not: {}; upgrade them",
                list(&other)
            ))
        },
    )
}

fn remote(doctor: &Doctor, settings: &Serve) -> Remote {
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
