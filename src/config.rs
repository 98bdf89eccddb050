//! The settings of `hearken serve`.
//!
//! A setting is looked for in four places, and the first that has it wins: the flag, the
//! environment (`HEARKEN_` and the flag in capitals), the configuration file, the default. All are
//! read and checked before anything is opened, and an error names the place the value came from.
//! Relative paths are relative to the working directory, wherever they are written.

mod file;
mod flags;
mod host;
mod secret;
mod sources;

pub use flags::Flags;
pub use host::host_name;
pub use secret::SecretUrl;
pub use sources::{ConfigError, Origin};

use crate::domain::repair::RepairMode;
use crate::domain::{
    bus::BusDefinition,
    layout::{Layout, QueueType},
    listener::ListenerSpec,
    name::{GroupName, NameError},
    span::Span,
};
use sources::{Environment, Sources};
use std::{collections::BTreeSet, net::SocketAddr, path::PathBuf};

/// The longest `--prefix`, in bytes. It is part of every queue's name, and the rest needs room.
pub const MAX_PREFIX: usize = 32;

/// The buses that every cluster has.
pub const DEFAULT_BUSES: [&str; 2] = ["mailboxEvent", "jmapEvent"];

/// Where the database and the broker of a cluster are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// PostgreSQL.
    pub database_url: SecretUrl,
    /// RabbitMQ.
    pub amqp_url: SecretUrl,
    /// RabbitMQ's management API; where it is not given, it is derived from `amqp_url`.
    pub management_url: Option<SecretUrl>,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Every setting of `hearken serve`, checked.
#[derive(Debug, Clone)]
pub struct Serve {
    /// Where REST listens.
    pub listen: SocketAddr,
    /// Where the embedded store and the generated admin token are.
    pub data_dir: PathBuf,
    /// The cluster's services; without them everything is embedded.
    pub cluster: Option<Cluster>,
    /// What this node is called: a name.
    pub node_id: String,
    /// The first part of the name of everything on the broker: a name without dots.
    pub prefix: String,
    /// The kind of the work queues.
    pub queue_type: QueueType,
    /// Whether drift is repaired without asking.
    pub reconcile: RepairMode,
    /// The longest time between two passes.
    pub reconcile_interval: Span,
    /// The file with the token that may do everything.
    pub admin_token_file: Option<PathBuf>,
    /// The file with the token that may read.
    pub read_token_file: Option<PathBuf>,
    /// Which otherwise forbidden hosts webhooks may call.
    pub webhook_allow: Vec<String>,
    /// How log lines look.
    pub log_format: LogFormat,
    /// How long handlers may finish when the node stops.
    pub shutdown_patience: Span,
    /// The buses: the default ones, then those of the file.
    pub buses: Vec<BusDefinition>,
    /// The listeners that this node demands.
    pub required: Vec<ListenerSpec>,
}

impl Serve {
    /// Reads the settings from the flags, this process's environment and the configuration file.
    ///
    /// # Errors
    /// The first setting that is wrong, with the place it came from and what would be right.
    pub fn load(flags: &Flags) -> Result<Self, ConfigError> {
        Self::resolve(flags, &|name| std::env::var_os(name))
    }

    fn resolve(flags: &Flags, environment: &Environment<'_>) -> Result<Self, ConfigError> {
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
            webhook_allow: sources.list("webhook-allow")?,
            log_format: sources.required("log-format", |text| {
                choose(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
            })?,
            shutdown_patience: sources
                .required("shutdown-patience", |text| span_within(text, "0s", "1h"))?,
            buses: buses(&sources)?,
            required: sources.file().map(|file| file.required.clone()).unwrap_or_default(),
        };
        settings.check_together(&sources)?;
        Ok(settings)
    }

    /// Checks what no single setting can.
    fn check_together(&self, sources: &Sources<'_>) -> Result<(), ConfigError> {
        if self.admin_token_file.is_some() && self.admin_token_file == self.read_token_file {
            return Err(ConfigError::Incoherent(
                "admin-token-file and read-token-file are the same file; a reader could \
                 then do everything: give two files"
                    .into(),
            ));
        }
        let layout = Layout { prefix: self.prefix.clone(), ..Layout::default() };
        for bus in &self.buses {
            let Some(exchange) = bus.foreign_exchange() else { continue };
            let origin = sources.in_file(&format!("[[bus]] {}", bus.name));
            if self.cluster.is_none() {
                let problem = "is attached, and without RabbitMQ there is nothing to attach to; \
                               give --database-url and --amqp-url"
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
        let mut groups = BTreeSet::<&GroupName>::new();
        for listener in &self.required {
            let refused = |problem: String| {
                let origin = sources.in_file(&format!("[[required]] of group {}", listener.group));
                ConfigError::Invalid { origin, problem }
            };
            if !groups.insert(&listener.group) {
                return Err(refused("is there twice; a group has one listener".into()));
            }
            if !self.buses.iter().any(|bus| bus.name == listener.bus) {
                let known = self.buses.iter().map(|bus| bus.name.as_str());
                let known = known.collect::<Vec<_>>().join(", ");
                return Err(refused(format!(
                    "names bus {}, which is not one of {known}; add [[bus]] name = \"{}\"",
                    listener.bus, listener.bus
                )));
            }
            layout.fits(listener).map_err(|error| refused(format!("is refused: {error}")))?;
        }
        Ok(())
    }
}

/// The URL of the database alone, for what needs nothing else. `flag` is what the command line
/// says.
///
/// # Errors
/// When it is nowhere, or is not a PostgreSQL URL.
pub fn database_url(
    flag: Option<&str>,
    config: Option<&str>,
) -> Result<Option<SecretUrl>, ConfigError> {
    let flags = Flags::from_pairs([("database-url", flag), ("config", config)]);
    let environment = |name: &str| std::env::var_os(name);
    Sources::open(&flags, &environment)?.get("database-url", SecretUrl::database)
}

fn cluster(sources: &Sources<'_>) -> Result<Option<Cluster>, ConfigError> {
    let database_url = sources.get("database-url", SecretUrl::database)?;
    let amqp_url = sources.get("amqp-url", SecretUrl::amqp)?;
    let management_url = sources.get("management-url", SecretUrl::management)?;
    let alone = |given: &'static str, rest: &str| {
        let origin = sources.origin(given).expect("this setting was found");
        Err(ConfigError::Incoherent(format!("{origin} is given {rest}")))
    };
    match (database_url, amqp_url) {
        (Some(database_url), Some(amqp_url)) => {
            Ok(Some(Cluster { database_url, amqp_url, management_url }))
        }
        (Some(_), None) => alone(
            "database-url",
            "and --amqp-url is not; a cluster needs both: give --amqp-url too, or neither for the \
             embedded store and bus",
        ),
        (None, Some(_)) => alone(
            "amqp-url",
            "and --database-url is not; a cluster needs both: give --database-url too, or neither \
             for the embedded store and bus",
        ),
        (None, None) if management_url.is_some() => alone(
            "management-url",
            "without --amqp-url; it says where the management API of that RabbitMQ is",
        ),
        (None, None) => Ok(None),
    }
}

fn node_id(sources: &Sources<'_>) -> Result<String, ConfigError> {
    if let Some(id) = sources.get("node-id", |text| parse_name("node", text))? {
        return Ok(id);
    }
    let host = host::told_host_name().ok_or_else(|| {
        ConfigError::Incoherent("this machine does not tell its host name; give --node-id".into())
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
        return Err(ConfigError::Invalid { origin, problem: "is there twice".into() });
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

fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| {
        format!("is {text:?}, not an address and a port such as 127.0.0.1:8000 or [::]:8000")
    })
}

#[expect(clippy::unnecessary_wraps, reason = "parsers of settings have one shape")]
fn parse_path(text: &str) -> Result<PathBuf, String> {
    Ok(PathBuf::from(text))
}

fn parse_name(kind: &'static str, text: &str) -> Result<String, String> {
    // Any kind of name does: they differ in nothing but what the error calls them.
    GroupName::parse(text)
        .map(String::from)
        .map_err(|error| format!("is refused: {}", NameError { kind, ..error }))
}

fn parse_prefix(text: &str) -> Result<String, String> {
    if text.contains('.') {
        return Err(format!("is {text:?}; dots separate the prefix from what follows it"));
    }
    if text.len() > MAX_PREFIX {
        return Err(format!("has {} bytes; {MAX_PREFIX} are allowed", text.len()));
    }
    parse_name("prefix", text)
}

fn choose<T: Copy>(text: &str, choices: &[(&str, T)]) -> Result<T, String> {
    choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value).ok_or_else(|| {
        let names = choices.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(" or ");
        format!("is {text:?}; it must be {names}")
    })
}

fn span_within(text: &str, least: &str, most: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error| format!("is refused: {error}"))?;
    let limit = |text: &str| text.parse::<Span>().expect("limits are written as spans");
    if (limit(least)..=limit(most)).contains(&span) {
        return Ok(span);
    }
    Err(format!("is {span}; it must be between {least} and {most}"))
}

#[cfg(test)]
mod tests;
