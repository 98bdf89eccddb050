//! A private RabbitMQ broker.

mod node;
mod program;

use super::{START_DEADLINE, http, process::Process};
use anyhow::{Result, anyhow, bail};
use node::{Family, Node};
use std::{
    net::{Ipv4Addr, TcpStream},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

/// Which RabbitMQ to start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RabbitMqVersion {
    /// The machine's own: 3.10 on Debian 12.
    System,
    /// 4.0, from a newer Debian in a directory of its own.
    V4,
}

impl RabbitMqVersion {
    /// The version a test run asked for in `TEST_HEARKEN_RABBITMQ`.
    #[must_use]
    pub fn from_env() -> Self {
        match std::env::var("TEST_HEARKEN_RABBITMQ").as_deref() {
            Ok("4") => Self::V4,
            _ => Self::System,
        }
    }

    /// What `TEST_HEARKEN_RABBITMQ` holds for this version.
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
/// It begins empty, with the user `guest`, and ends when the value is dropped. [`kill`](Self::kill)
/// and [`restart`](Self::restart) keep ports and data.
#[derive(Debug)]
pub struct RabbitMq {
    // Dropped in this order. The port mapper serves the broker, and the others of its cluster, and
    // all use the node's files.
    broker: Option<Process>,
    _port_mapper: Arc<Process>,
    node: Node,
}

impl RabbitMq {
    /// Starts a broker and waits until it answers.
    ///
    /// # Errors
    /// When that RabbitMQ is not installed or does not come up.
    pub fn start(dir: &Path, version: RabbitMqVersion) -> Result<Self> {
        let mut nodes = Self::start_cluster(dir, version, 1)?;
        nodes.pop().ok_or_else(|| anyhow!("a cluster of one has one node"))
    }

    /// Starts a cluster of so many nodes and waits until each answers and knows all.
    ///
    /// Each is killed and restarted by itself. Together they use as many cores as one broker does.
    ///
    /// # Errors
    /// When that RabbitMQ is not installed, a node does not come up, or they do not find each
    /// other.
    pub fn start_cluster(dir: &Path, version: RabbitMqVersion, size: usize) -> Result<Vec<Self>> {
        let family = Family::of(size)?;
        let dir_of =
            |index| if size == 1 { dir.to_path_buf() } else { dir.join(format!("{index}")) };
        let nodes: Result<Vec<Node>> =
            (0..size).map(|index| Node::create(&dir_of(index), version, &family, index)).collect();
        let nodes = nodes?;
        let Some(first) = nodes.first() else { bail!("a cluster of no nodes") };
        let mut port_mapper = Process::spawn("epmd", first.port_mapper(), &dir.join("epmd.log"))?;
        // A broker that finds no port mapper starts one, which would outlive it.
        port_mapper.wait_ready(START_DEADLINE, || answers(family.names))?;
        let port_mapper = Arc::new(port_mapper);
        let of = |node| Self { broker: None, _port_mapper: Arc::clone(&port_mapper), node };
        let mut brokers: Vec<Self> = nodes.into_iter().map(of).collect();
        thread::scope(|threads| {
            let starting: Vec<_> =
                brokers.iter_mut().map(|broker| threads.spawn(|| broker.restart())).collect();
            starting.into_iter().try_for_each(|started| {
                started.join().map_err(|_| anyhow!("starting RabbitMQ panicked"))?
            })
        })?;
        brokers.iter().try_for_each(|broker| broker.knows(size))?;
        Ok(brokers)
    }

    /// Fails unless the node is in a cluster of so many nodes.
    fn knows(&self, size: usize) -> Result<()> {
        let (_, listed) = http::get(self.node.management, "/api/nodes?columns=name")?;
        let found = listed.matches("\"name\"").count();
        if found == size {
            return Ok(());
        }
        bail!("RabbitMQ formed a cluster of {found} nodes, not {size}: {listed}")
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

    /// Starts the broker again on the same ports and data, killing it first if it runs.
    ///
    /// # Errors
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
