//! The files, ports and environment of one RabbitMQ node.

use super::{RabbitMqVersion, program};
use crate::services::{
    chroot, packages, port,
    process::{guarded, random_hex},
    slot::{clear, digest},
};
use anyhow::{Context, Result};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

const SCRIPTS: &str = "/usr/lib/rabbitmq/bin";

/// What the nodes of one cluster share.
#[derive(Debug)]
pub(super) struct Family {
    /// The port of the port mapper that they find each other by.
    pub(super) names: u16,
    /// The secret that lets them talk to each other.
    cookie: String,
    /// How many they are.
    size: usize,
}

impl Family {
    /// A family of so many nodes.
    pub(super) fn of(size: usize) -> Result<Self> {
        Ok(Self { names: port::free()?, cookie: random_hex(16)?, size })
    }

    /// The name of a node, counted from 0. The port mapper's port in it tells `ps` whose it is.
    fn node(&self, index: usize) -> String {
        format!("hearken-{}-{index}@localhost", self.names)
    }

    /// How a node that starts empty finds the others.
    fn discovery(&self) -> String {
        if self.size == 1 {
            return String::new();
        }
        let mut lines =
            vec!["cluster_formation.peer_discovery_backend = classic_config".to_owned()];
        lines.extend((0..self.size).map(|index| {
            format!("cluster_formation.classic_config.nodes.{} = {}", index + 1, self.node(index))
        }));
        lines.join("\n") + "\n"
    }

    /// Erlang schedulers of each node. Several nodes share what one would have for itself.
    fn schedulers(&self) -> usize {
        if self.size == 1 { 2 } else { 1 }
    }
}

/// Everything that tells one node from another.
///
/// The paths exist twice: `data` is where we see the node's files, `inside` is where the node does.
/// They differ when it runs in a root of its own.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) amqp: u16,
    pub(super) management: u16,
    pub(super) log: PathBuf,
    names: u16,
    name: String,
    schedulers: usize,
    distribution: u16,
    root: Option<PathBuf>,
    data: PathBuf,
    inside: PathBuf,
    trimmed: bool,
}

impl Node {
    /// Chooses ports and writes the configuration, clearing what was there. `index` is the node's
    /// place in its family, from 0.
    pub(super) fn create(
        dir: &Path,
        version: RabbitMqVersion,
        family: &Family,
        index: usize,
    ) -> Result<Self> {
        fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
        let dir = fs::canonicalize(dir)?;
        let (root, data, inside) = match version {
            RabbitMqVersion::System => {
                packages::rabbitmq_programs()?;
                (None, dir.join("data"), dir.join("data"))
            }
            RabbitMqVersion::V4 => {
                let root = chroot::root()?;
                let name = format!("srv/{}", digest(&dir));
                (Some(root.clone()), root.join(&name), Path::new("/").join(&name))
            }
        };
        let mut node = Self {
            amqp: port::free()?,
            management: port::free()?,
            names: family.names,
            name: family.node(index),
            schedulers: family.schedulers(),
            distribution: port::free()?,
            log: dir.join("rabbitmq.log"),
            root,
            data,
            inside,
            trimmed: false,
        };
        node.write_files(family)?;
        if node.root.is_none() {
            node.trimmed = program::trim(Path::new(SCRIPTS), &node.data.join("program"))?;
        }
        Ok(node)
    }

    /// The broker. Its process becomes the Erlang machine itself, so killing it kills the broker
    /// and not a script that started it.
    pub(super) fn broker(&self) -> Command {
        let mut command = self.command();
        command
            .arg(format!("{SCRIPTS}/rabbitmq-server"))
            .arg("-noinput")
            // What the script asks to learn whether it may step aside.
            .env("RUNNING_UNDER_SYSTEMD", "true");
        command
    }

    /// The port mapper that Erlang nodes find each other by. Started by the broker it would be a
    /// daemon and outlive it.
    pub(super) fn port_mapper(&self) -> Command {
        let mut command = self.command();
        let port = self.names.to_string();
        command.args(["epmd", "-address", "127.0.0.1", "-port", &port]);
        command
    }

    pub(super) fn ctl(&self) -> Command {
        let mut command = self.command();
        command.arg(format!("{SCRIPTS}/rabbitmqctl")).arg("--quiet").stdin(Stdio::null());
        command
    }

    /// A command that sees this node's environment, and nothing of ours.
    fn command(&self) -> Command {
        let mut command = guarded("KILL");
        command.arg("--");
        if let Some(root) = &self.root {
            command.arg("chroot").arg(root);
        }
        let file = |name: &str| self.inside.join(name);
        command
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .env("LANG", "C.UTF-8")
            .env("HOME", file("home"))
            .env("RABBITMQ_NODENAME", &self.name)
            .env("RABBITMQ_MNESIA_BASE", file("mnesia"))
            .env("RABBITMQ_LOG_BASE", file("log"))
            .env("RABBITMQ_CONFIG_FILE", file("rabbitmq.conf"))
            .env("RABBITMQ_CONFIG_FILES", file("conf.d/*.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", file("advanced.config"))
            .env("RABBITMQ_CONF_ENV_FILE", file("rabbitmq-env.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", file("enabled_plugins"))
            .env("RABBITMQ_DIST_PORT", self.distribution.to_string())
            .env("ERL_EPMD_PORT", self.names.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                format!("+S {0}:{0} +B i {LOOPBACK_ONLY}", self.schedulers),
            )
            .env("RABBITMQ_CTL_ERL_ARGS", format!("+S 1:1 {LOOPBACK_ONLY}"))
            // The default range has room for eleven commands at a time on the whole machine.
            .env("RABBITMQ_CTL_DIST_PORT_MIN", "35672")
            .env("RABBITMQ_CTL_DIST_PORT_MAX", "36671");
        if self.trimmed {
            command.env("RABBITMQ_SCRIPTS_DIR", self.inside.join("program/sbin"));
        }
        command
    }

    fn write_files(&self, family: &Family) -> Result<()> {
        clear(&self.data)?;
        let home = self.data.join("home");
        fs::create_dir(&home)?;
        let cookie = home.join(".erlang.cookie");
        fs::write(&cookie, &family.cookie)?;
        fs::set_permissions(&cookie, Permissions::from_mode(0o400))?;
        fs::write(self.data.join("rabbitmq.conf"), self.configuration() + &family.discovery())?;
        fs::write(self.data.join("advanced.config"), RETURNS)?;
        fs::write(self.data.join("rabbitmq-env.conf"), "")?;
        fs::write(self.data.join("enabled_plugins"), "[rabbitmq_management].\n")?;
        Ok(())
    }

    fn configuration(&self) -> String {
        let (amqp, management) = (self.amqp, self.management);
        let memory = if self.root.is_some() { WITHOUT_PROC } else { "" };
        format!(
            "listeners.tcp.1 = 127.0.0.1:{amqp}\n\
             management.tcp.ip = 127.0.0.1\n\
             management.tcp.port = {management}\n\
             collect_statistics_interval = 1000\n\
             disk_free_limit.absolute = 50MB\n\
             raft.wal_max_size_bytes = 67108864\n\
             log.file = false\n\
             log.console = true\n\
             log.console.level = info\n\
             {memory}"
        )
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.root.is_some() {
            // These files are not in the directory the caller looks after.
            let _ = fs::remove_dir_all(&self.data);
        }
    }
}

/// How long events that return from a wait queue may go without a confirm before they are sent
/// again. When the leader of a work queue dies, what is on its way to it is not confirmed, and the
/// wait queue stands still: for three minutes by default.
const RETURNS: &str = "[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 10000}]}].\n";

/// Keeps the distribution port off other interfaces; RabbitMQ's own configuration covers only AMQP
/// and management.
const LOOPBACK_ONLY: &str = "-kernel inet_dist_use_interface {127,0,0,1}";

/// The memory monitor reads `/proc`, which a root of our own does not have mounted, and the broker
/// does not start when it cannot.
const WITHOUT_PROC: &str = "vm_memory_calculation_strategy = allocated\n\
                            total_memory_available_override_value = 4GB\n";
