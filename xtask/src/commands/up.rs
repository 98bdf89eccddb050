//! `up`: a cluster to try by hand.

use super::{
    cargo, code,
    nodes::Node,
    servers::{Commits, Servers},
    status,
};
use anyhow::{Result, bail};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::ExitCode,
    thread,
    time::Duration,
};
use xtask::services::{RabbitMqVersion, random_hex};

/// Runs servers and nodes until Ctrl-C, which ends us and them with us.
pub(super) fn run(version: RabbitMqVersion) -> Result<ExitCode> {
    let build = status(&mut cargo(&["build", "--package", "hearken"]))?;
    if !build.success() {
        return Ok(code(build));
    }
    let servers = Servers::start("up", version, Commits::Fast)?;
    let token = random_hex(16)?;
    let token_file = servers.dir().join("token");
    fs::write(&token_file, &token)?;
    fs::set_permissions(&token_file, Permissions::from_mode(0o600))?;

    let mut nodes = Vec::new();
    for id in ["n1", "n2", "n3"] {
        nodes.push(Node::start(id, &servers, &token_file)?);
    }
    for node in &mut nodes {
        node.wait_ready()?;
    }
    println!("{}", welcome(&servers, &nodes, &token, &token_file));
    watch(&mut nodes)
}

/// Returns when a node ends. A node that ends by itself is worth a look.
fn watch(nodes: &mut [Node]) -> Result<ExitCode> {
    loop {
        for node in &mut *nodes {
            if let Some(obituary) = node.obituary() {
                bail!("{obituary}");
            }
        }
        thread::sleep(Duration::from_millis(500));
    }
}

fn welcome(servers: &Servers, nodes: &[Node], token: &str, token_file: &Path) -> String {
    let mut lines = vec!["\nThe cluster is ready.\n".to_owned()];
    lines.extend(nodes.iter().map(|node| format!("  node {}     {}", node.id, node.url())));
    let first = nodes.first().map(Node::url).unwrap_or_default();
    let last = nodes.last().map(Node::url).unwrap_or_default();
    let (postgres, rabbitmq) = (&servers.postgres, &servers.rabbitmq);
    lines.push(format!(
        "  token       {token}
              (also in {token_file})
  RabbitMQ    http://127.0.0.1:{management}  (guest, guest)
              {amqp}
  PostgreSQL  {database}
  logs        {logs}/*.log

Add a listener on one node and read it on another:

  curl -H 'Authorization: Bearer {token}' -H 'Content-Type: application/json' \\
       -d '{{\"class\": \"log\", \"group\": \"my-log\"}}' '{first}/listeners?wait=5s'
  curl -H 'Authorization: Bearer {token}' {last}/listeners

Ctrl-C ends everything.",
        token_file = token_file.display(),
        management = rabbitmq.management_port(),
        amqp = rabbitmq.amqp_url(),
        database = postgres.url(),
        logs = servers.dir().display(),
    ));
    lines.join("\n")
}
