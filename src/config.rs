//! Settings of `hearken serve`.
//!
//! A setting has four sources: the flag, the environment (`HEARKEN_` and the flag in capitals), the
//! configuration file and the default. The first source that has the setting wins. All settings are
//! read and checked before anything is opened, and an error names the source of the value. Relative
//! paths are relative to the working directory, also in the configuration file.

mod environment;
mod error;
mod file;
mod flags;
mod host;
mod parse;
mod secret;
mod sources;

pub use error::{ConfigError, Origin};
pub use flags::Flags;
pub use host::host_name;
pub(crate) use parse::{parse_history_limit, parse_quota};
pub use secret::SecretUrl;

use crate::domain::{
    bus::{BusDefinition, DEFAULT_BUSES},
    cluster::{ClusterSetting, ClusterSettings, NodeSettings},
    layout::{Layout, QueueType},
    listener::ListenerSpec,
    name::GroupName,
    repair::RepairMode,
    retention::Retention,
    span::Span,
};
use parse::{
    choose, parse_age, parse_database_connections, parse_listen, parse_name, parse_path,
    parse_prefix, span_within,
};
use sources::{Environment, Sources};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

/// Bus of a listener that names no bus: James's bus of mailbox events.
pub const DEFAULT_BUS: &str = "mailboxEvent";

/// Services of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// URL of PostgreSQL.
    pub database_url: SecretUrl,
    /// Most connections of this node to PostgreSQL.
    pub database_connections: u32,
    /// URL of RabbitMQ.
    pub amqp_url: SecretUrl,
    /// URL of RabbitMQ's management API; derived from `amqp_url` if absent.
    pub management_url: Option<SecretUrl>,
}

/// Format of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object per line.
    Json,
}

/// Settings of `hearken serve`, read and checked.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Address that the REST interface listens on.
    pub listen: SocketAddr,
    /// Directory of the embedded store and of the generated administrator's token.
    pub data_dir: PathBuf,
    /// Services of the cluster; without them, store and bus are embedded.
    pub cluster: Option<Cluster>,
    /// Name of this node.
    pub node_id: String,
    /// First part of the name of every object on the broker; has no dots.
    pub prefix: String,
    /// Type of the work queues.
    pub queue_type: QueueType,
    /// Whether hearken repairs drift by itself.
    pub reconcile: RepairMode,
    /// Longest time between two reconciliation passes.
    pub reconcile_interval: Span,
    /// File with the administrator's token.
    pub admin_token_file: Option<PathBuf>,
    /// File with the read-only token.
    pub read_token_file: Option<PathBuf>,
    /// Directory of the files that references in a listener's configuration may name.
    pub secrets_dir: Option<PathBuf>,
    /// Hosts and networks that webhooks may call although they are forbidden by default.
    pub webhook_allow: Vec<String>,
    /// Format of the log.
    pub log_format: LogFormat,
    /// Time that listeners have to finish their events when the node stops.
    pub shutdown_patience: Span,
    /// Buses: the default ones, then those of the configuration file.
    pub buses: Vec<BusDefinition>,
    /// Listeners that this node requires.
    pub required: Vec<ListenerSpec>,
    /// Limits of the cluster's records.
    pub retention: Retention,
    /// Settings of the cluster that a flag, a variable or the file gives a value.
    pub given: BTreeSet<ClusterSetting>,
}

impl Serve {
    /// How the node runs, and with which services, in words. Contains no credentials.
    #[must_use]
    pub fn mode(&self) -> String {
        match &self.cluster {
            None => format!("embedded mode, with its store in {}", self.data_dir.display()),
            Some(Cluster { database_url, amqp_url, .. }) => format!(
                "cluster mode, with {} and {}",
                database_url.without_credentials(),
                amqp_url.without_credentials()
            ),
        }
    }

    /// The settings that are the same on every node of a cluster, as this node has them. They hold
    /// for the cluster when this node is its first.
    #[must_use]
    pub fn node_settings(&self) -> NodeSettings {
        let values = ClusterSettings {
            prefix: self.prefix.clone(),
            queue_type: self.queue_type,
            reconcile: self.reconcile,
            reconcile_interval: self.reconcile_interval,
            retention: self.retention,
        };
        NodeSettings { values, given: self.given.clone() }
    }

    /// Reads the settings from the flags, this process's environment and the configuration file.
    ///
    /// # Errors
    /// The first wrong setting, with its source and what would be right.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        Self::resolve(flags, &std::env::vars_os().collect())
    }

    fn resolve(flags: &Flags, environment: &Environment) -> Result<Self, ConfigError> {
        let sources = Sources::open(flags, environment)?;
        let settings = Self {
            listen: sources.required("listen", parse_listen)?,
            data_dir: sources.required("data-dir", parse_path)?,
            cluster: cluster(&sources)?,
            node_id: node_id(&sources)?,
            prefix: sources.required("prefix", parse_prefix)?,
            queue_type: sources.required("queue-type", |text| {
                choose(text, &[("quorum", QueueType::Quorum), ("classic", QueueType::Classic)])
            })?,
            reconcile: sources.required("reconcile", |text| {
                choose(text, &[("auto", RepairMode::Auto), ("manual", RepairMode::Manual)])
            })?,
            reconcile_interval: sources
                .required("reconcile-interval", |text| span_within(text, "1s", "1d"))?,
            admin_token_file: sources.get("admin-token-file", parse_path)?,
            read_token_file: sources.get("read-token-file", parse_path)?,
            secrets_dir: sources.get("secrets-dir", parse_path)?,
            webhook_allow: sources.list("webhook-allow")?,
            log_format: sources.required("log-format", |text| {
                choose(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
            })?,
            shutdown_patience: sources
                .required("shutdown-patience", |text| span_within(text, "0s", "1h"))?,
            buses: buses(&sources)?,
            required: sources.file().map(|file| file.required.clone()).unwrap_or_default(),
            retention: retention(&sources)?,
            given: (ClusterSetting::ALL.into_iter())
                .filter(|setting| sources.gives(setting.name()))
                .collect(),
        };
        settings.check_together(&sources)?;
        Ok(settings)
    }

    /// Checks rules that concern several settings.
    fn check_together(&self, sources: &Sources<'_>) -> Result<(), ConfigError> {
        if self.admin_token_file.is_some() && self.admin_token_file == self.read_token_file {
            return Err(ConfigError::Incoherent(
                "admin-token-file and read-token-file name the same file, so a reader could do \
                 everything; name two files"
                    .into(),
            ));
        }
        let layout = Layout { prefix: self.prefix.clone(), ..Layout::default() };
        self.check_buses(sources, &layout)?;
        self.check_required(sources, &layout)
    }

    fn check_buses(&self, sources: &Sources<'_>, layout: &Layout) -> Result<(), ConfigError> {
        for bus in &self.buses {
            let Some(exchange) = bus.foreign_exchange() else { continue };
            let origin = sources.in_file(&format!("[[bus]] {}", bus.name));
            if self.cluster.is_none() {
                let problem = "is attached to an exchange, which needs RabbitMQ; give \
                               --database-url and --amqp-url"
                    .into();
                return Err(ConfigError::Invalid { origin, problem });
            }
            if layout.has_prefix(exchange) {
                let problem = format!(
                    "is attached to {exchange}, which has the prefix of hearken's own objects; \
                     attach it to an exchange of another program, or choose another --prefix"
                );
                return Err(ConfigError::Invalid { origin, problem });
            }
        }
        Ok(())
    }

    fn check_required(&self, sources: &Sources<'_>, layout: &Layout) -> Result<(), ConfigError> {
        let mut groups = BTreeSet::<&GroupName>::new();
        for listener in &self.required {
            let refused = |problem: String| {
                let origin = sources.in_file(&format!("[[required]] of group {}", listener.group));
                ConfigError::Invalid { origin, problem }
            };
            if !groups.insert(&listener.group) {
                return Err(refused("appears twice; a group has one listener".into()));
            }
            layout.fits(listener).map_err(|error| refused(format!("is refused: {error}")))?;
        }
        Ok(())
    }
}

/// URL of the database, for a command that needs no other setting. `flag` and `config` are the
/// values of `--database-url` and `--config`.
///
/// # Errors
/// When the value is not a PostgreSQL URL, or the configuration file cannot be used.
pub fn database_url(
    flag: Option<&str>,
    config: Option<&str>,
) -> Result<Option<SecretUrl>, ConfigError> {
    let flags = Flags::from_pairs([("database-url", flag), ("config", config)]);
    let environment = std::env::vars_os().collect();
    let sources = Sources::open(&flags, &environment)?;
    sources.secret("database-url", "database-url-file", SecretUrl::database)
}

fn cluster(sources: &Sources<'_>) -> Result<Option<Cluster>, ConfigError> {
    let database_url = sources.secret("database-url", "database-url-file", SecretUrl::database)?;
    let database_connections =
        sources.required("database-connections", parse_database_connections)?;
    let amqp_url = sources.secret("amqp-url", "amqp-url-file", SecretUrl::amqp)?;
    let management_url =
        sources.secret("management-url", "management-url-file", SecretUrl::management)?;
    let alone = |given: &'static str, file: &'static str, rest: &str| {
        let origin = sources.origin(given).or_else(|| sources.origin(file));
        let origin = origin.expect("one of the two settings was found");
        Err(ConfigError::Incoherent(format!("{origin} is given {rest}")))
    };
    match (database_url, amqp_url) {
        (Some(database_url), Some(amqp_url)) => {
            Ok(Some(Cluster { database_url, database_connections, amqp_url, management_url }))
        }
        (Some(_), None) => alone(
            "database-url",
            "database-url-file",
            "and --amqp-url is not; a cluster needs both: give --amqp-url too, or neither for the \
             embedded store and bus",
        ),
        (None, Some(_)) => alone(
            "amqp-url",
            "amqp-url-file",
            "and --database-url is not; a cluster needs both: give --database-url too, or neither \
             for the embedded store and bus",
        ),
        (None, None) if management_url.is_some() => alone(
            "management-url",
            "management-url-file",
            "without --amqp-url; it is the address of the management API of that RabbitMQ",
        ),
        (None, None) => Ok(None),
    }
}

fn retention(sources: &Sources<'_>) -> Result<Retention, ConfigError> {
    Ok(Retention {
        dead_letters: sources.required("retain-dead-letters", parse_age)?,
        dead_letter_quota: sources.required("dead-letter-quota", parse_quota)?,
        tasks: sources.required("retain-tasks", parse_history_limit)?,
        commands: sources.required("retain-commands", parse_history_limit)?,
        passes: sources.required("retain-passes", parse_history_limit)?,
    })
}

fn node_id(sources: &Sources<'_>) -> Result<String, ConfigError> {
    if let Some(id) = sources.get("node-id", |text| parse_name("node", text))? {
        return Ok(id);
    }
    let host = host::find_host_name().ok_or_else(|| {
        ConfigError::Incoherent(
            "the host name of this machine cannot be found; give --node-id".into(),
        )
    })?;
    parse_name("node", &host).map_err(|problem| {
        ConfigError::Incoherent(format!(
            "the host name cannot be the node's id, {problem}; give --node-id"
        ))
    })
}

fn buses(sources: &Sources<'_>) -> Result<Vec<BusDefinition>, ConfigError> {
    let of_file = sources.file().map(|file| file.buses.clone()).unwrap_or_default();
    let mut seen = BTreeSet::new();
    if let Some(twice) = of_file.iter().find(|bus| !seen.insert(bus.name.clone())) {
        let origin = sources.in_file(&format!("[[bus]] {}", twice.name));
        return Err(ConfigError::Invalid { origin, problem: "appears twice".into() });
    }
    let mut all: Vec<BusDefinition> = DEFAULT_BUSES
        .iter()
        .map(|name| BusDefinition::plain(name.parse().expect("the default buses are names")))
        .collect();
    for bus in of_file {
        match all.iter_mut().find(|present| present.name == bus.name) {
            Some(default) => *default = bus,
            None => all.push(bus),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests;
