//! The nodes of a cluster to try.

use super::servers::Servers;
use anyhow::{Context, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};
use xtask::services::{Process, free_port, guarded, http_get, target_dir};

/// How long a node may take to be ready. The first one migrates the database and declares the
/// topology.
const READY_DEADLINE: Duration = Duration::from_mins(1);

/// One running node.
pub(super) struct Node {
    pub(super) id: String,
    port: u16,
    process: Process,
}

impl Node {
    /// Starts a node of the cluster that the servers carry.
    pub(super) fn start(id: &str, servers: &Servers, token_file: &Path) -> Result<Self> {
        let port = free_port()?;
        let data = servers.dir().join(id);
        fs::create_dir_all(&data).with_context(|| format!("cannot create {}", data.display()))?;
        let mut command = guarded("KILL");
        command
            .arg("--")
            .arg(program())
            .args(["serve", "--node-id", id])
            .args(["--listen", &format!("127.0.0.1:{port}")])
            .args(["--database-url", &servers.postgres.url()])
            .args(["--amqp-url", &servers.rabbitmq.amqp_url()])
            .args(["--management-url", &servers.rabbitmq.management_url()])
            .arg("--admin-token-file")
            .arg(token_file)
            .arg("--data-dir")
            .arg(&data)
            // A hearken.toml in the caller's directory is not for this cluster.
            .current_dir(&data);
        let log = servers.dir().join(format!("{id}.log"));
        Ok(Self {
            id: id.to_owned(),
            port,
            process: Process::spawn(&format!("node {id}"), command, &log)?,
        })
    }

    /// Waits until the node takes requests and runs its listeners.
    pub(super) fn wait_ready(&mut self) -> Result<()> {
        let port = self.port;
        self.process.wait_ready(READY_DEADLINE, || {
            http_get(port, "/readyz").is_ok_and(|(status, _)| status == 200)
        })
    }

    pub(super) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Says that the node has ended, and why, if it has.
    pub(super) fn obituary(&mut self) -> Option<String> {
        let status = self.process.exited()?;
        Some(format!("node {} ended ({status})\n{}", self.id, self.process.log_tail()))
    }
}

fn program() -> PathBuf {
    target_dir().join("debug/hearken")
}
