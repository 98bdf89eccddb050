//! A private RabbitMQ broker.

mod node;
mod program;

use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};

use super::process::Process;
use super::{START_DEADLINE, http};
use node::Node;

/// Which RabbitMQ to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RabbitMqVersion {
    /// The machine's own: 3.10 on Debian 12.
    System,
    /// 4.0, from a newer Debian in a directory of its own.
    V4,
}

impl RabbitMqVersion {
    /// The version a test run asked for in `HEARKEN_TEST_RABBITMQ`.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var("HEARKEN_TEST_RABBITMQ").as_deref() {
            Ok("4") => Self::V4,
            _ => Self::System,
        }
    }

    /// What `HEARKEN_TEST_RABBITMQ` holds for this version.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::V4 => "4",
        }
    }
}

/// A RabbitMQ broker of our own, with management, on loopback ports of its own.
///
/// It begins empty, with the user `guest`, and ends when the value is dropped.
/// [`kill`](Self::kill) and [`restart`](Self::restart) keep ports and data.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped in this order. The port mapper serves the broker, and both use
    // the node's files.
    broker: Option<Process>,
    _port_mapper: Process,
    node: Node,
}

impl RabbitMq {
    /// Starts a broker and waits until it answers.
    ///
    /// # Errors
    ///
    /// When that RabbitMQ is not installed or does not come up.
    pub fn start(dir: &Path, version: RabbitMqVersion) -> Result<Self> {
        let node = Node::create(dir, version)?;
        let mut port_mapper = Process::spawn("epmd", node.port_mapper(), &dir.join("epmd.log"))?;
        // A broker that finds no port mapper starts one, which would outlive it.
        port_mapper.wait_ready(START_DEADLINE, || answers(node.names))?;
        let mut broker = Self { broker: None, _port_mapper: port_mapper, node };
        broker.restart()?;
        Ok(broker)
    }

    /// The AMQP port on 127.0.0.1.
    #[must_use]
    pub fn amqp_port(&self) -> u16 {
        self.node.amqp
    }

    /// The management API's port on 127.0.0.1.
    #[must_use]
    pub fn management_port(&self) -> u16 {
        self.node.management
    }

    /// The AMQP URL of the default virtual host.
    #[must_use]
    pub fn amqp_url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.node.amqp)
    }

    /// The URL of the management API, without `/api`.
    #[must_use]
    pub fn management_url(&self) -> String {
        format!("http://guest:guest@127.0.0.1:{}", self.node.management)
    }

    /// Kills the broker as a power cut would, leaving its files.
    pub fn kill(&mut self) {
        self.broker = None;
    }

    /// Ends the broker in order.
    pub fn stop(&mut self) {
        if let Some(mut broker) = self.broker.take() {
            broker.end("TERM", Duration::from_secs(30));
        }
    }

    /// Starts the broker again on the same ports and data, killing it first if
    /// it runs.
    ///
    /// # Errors
    ///
    /// When the broker does not come up. The error holds the end of its log.
    pub fn restart(&mut self) -> Result<()> {
        self.kill();
        let (amqp, management) = (self.node.amqp, self.node.management);
        let mut broker = Process::spawn("RabbitMQ", self.node.broker(), &self.node.log)?;
        broker.wait_ready(START_DEADLINE, || {
            answers(amqp)
                && http::get(management, "/api/overview").is_ok_and(|(status, _)| status == 200)
        })?;
        self.broker = Some(broker);
        Ok(())
    }

    /// Runs `rabbitmqctl` against this broker. Returns what it printed.
    ///
    /// # Errors
    ///
    /// When the command fails. The error holds what it said.
    pub fn ctl(&self, arguments: &[&str]) -> Result<String> {
        let output = self.node.ctl().args(arguments).output()?;
        let printed = String::from_utf8_lossy(&output.stdout);
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            let command = arguments.join(" ");
            bail!("rabbitmqctl {command} failed ({})\n{printed}{errors}", output.status);
        }
        Ok(printed.into_owned())
    }
}

fn answers(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}
