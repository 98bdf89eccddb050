//! A private PostgreSQL server.

mod cluster;

use super::{
    START_DEADLINE, port,
    process::{Process, guarded},
};
use anyhow::Result;
use cluster::Cluster;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// A PostgreSQL server of our own, on a loopback port of its own.
///
/// It begins empty, with the superuser `hearken`, and ends when the value is dropped.
/// [`kill`](Self::kill) and [`restart`](Self::restart) keep port and data.
#[derive(Debug)]
pub struct Postgres {
    port: u16,
    durable: bool,
    log: PathBuf,
    // Dropped before the cluster, which may remove the files it uses.
    process: Option<Process>,
    cluster: Cluster,
}

impl Postgres {
    /// Starts a server that forgets what it held if the machine loses power.
    ///
    /// What it has committed survives [`kill`](Self::kill): the operating system still has it.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not come up.
    pub fn start(dir: &Path) -> Result<Self> {
        Self::launch(dir, false)
    }

    /// Starts a server that waits for the disk on every commit, as in production. For measuring;
    /// tests cannot tell the difference.
    ///
    /// # Errors
    /// When PostgreSQL is not installed or does not come up.
    pub fn start_durable(dir: &Path) -> Result<Self> {
        Self::launch(dir, true)
    }

    fn launch(dir: &Path, durable: bool) -> Result<Self> {
        let cluster = Cluster::create(dir)?;
        let mut server = Self {
            port: port::free()?,
            durable,
            log: dir.join("postgres.log"),
            process: None,
            cluster,
        };
        server.restart()?;
        Ok(server)
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// A URL for a superuser, who may create databases.
    #[must_use]
    pub fn url(&self) -> String {
        format!("postgres://hearken:hearken@127.0.0.1:{}/postgres", self.port)
    }

    /// Ends the server as a crash would: sessions are cut, nothing is flushed, and the next start
    /// recovers from the log.
    pub fn kill(&mut self) {
        // QUIT takes the sessions' processes along. After KILL they linger for a moment, and a
        // server cannot start on the data they still use.
        self.end("QUIT");
    }

    /// Ends the server in order, cutting the sessions.
    pub fn stop(&mut self) {
        self.end("INT");
    }

    /// Starts the server again on the same port and data, killing it first if it runs.
    ///
    /// # Errors
    /// When the server does not come up. The error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let mut process = Process::spawn("PostgreSQL", self.command(), &self.log)?;
        let (program, port) = (self.cluster.program("pg_isready"), self.port.to_string());
        process.wait_ready(START_DEADLINE, || {
            // Says yes only when queries are served, which is some time after the port accepts
            // connections when there is a crash to recover.
            Command::new(&program)
                .args(["--quiet", "--host=127.0.0.1", "--port", &port])
                .stdin(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
        })?;
        self.process = Some(process);
        Ok(())
    }

    fn end(&mut self, signal: &str) {
        if let Some(mut process) = self.process.take() {
            process.end(signal, Duration::from_secs(20));
        }
    }

    fn command(&self) -> Command {
        let on_disk = if self.durable { "on" } else { "off" };
        let mut command = guarded("QUIT");
        self.cluster.run_as(&mut command, "postgres");
        command.arg("-D").arg(self.cluster.data()).args(["-p", &self.port.to_string()]);
        for setting in [
            "listen_addresses=127.0.0.1",
            // No socket file: its path must be short, and a build directory's need not be.
            "unix_socket_directories=",
            "max_connections=400",
            "shared_buffers=64MB",
            "log_connections=off",
            "log_min_messages=warning",
            &format!("fsync={on_disk}"),
            &format!("full_page_writes={on_disk}"),
        ] {
            command.args(["-c", setting]);
        }
        // A test counts the statements of a cluster. The databases of a whole run have more
        // different statements than the default of 5,000.
        if self.cluster.has_library("pg_stat_statements") {
            command.args(["-c", "shared_preload_libraries=pg_stat_statements"]);
            command.args(["-c", "pg_stat_statements.max=50000"]);
            command.args(["-c", "pg_stat_statements.save=off"]);
        }
        command
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.kill();
    }
}
