//! The table of settings. From it come the flags, the names in the environment, the keys of the
//! configuration file and the help.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Id};
use std::collections::BTreeMap;

/// One setting.
pub(super) struct Setting {
    /// Its flag without dashes, which is its key in the file.
    pub(super) name: &'static str,
    value: &'static str,
    /// Its value when no flag, environment variable or file sets it.
    pub(super) default: Option<&'static str>,
    help: &'static str,
}

impl Setting {
    /// Its name in the environment.
    pub(super) fn variable(&self) -> String {
        format!("HEARKEN_{}", self.name.to_uppercase().replace('-', "_"))
    }

    fn arg(&self) -> Arg {
        let default = self.default.map(|text| format!(", default: {text}")).unwrap_or_default();
        let several = self.name == "webhook-allow";
        Arg::new(self.name)
            .long(self.name)
            .value_name(self.value)
            .action(if several { ArgAction::Append } else { ArgAction::Set })
            .help(format!("{} [env: {}{default}]", self.help, self.variable()))
    }
}

const fn setting(
    name: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting { name, value, default, help }
}

/// Every setting. All but the first may be in the configuration file, which it names.
pub(super) static SETTINGS: [Setting; 16] = [
    setting(
        "config",
        "FILE",
        None,
        "The configuration file; hearken.toml in the working directory is read when it exists",
    ),
    setting("listen", "ADDRESS", Some("127.0.0.1:8000"), "The address and port of REST"),
    setting(
        "data-dir",
        "DIR",
        Some("./hearken-data"),
        "Where the embedded store and the generated admin token are",
    ),
    setting(
        "database-url",
        "URL",
        None,
        "PostgreSQL of a cluster, postgres://…; without it and --amqp-url everything is embedded",
    ),
    setting("amqp-url", "URL", None, "RabbitMQ of a cluster, amqp://…"),
    setting(
        "management-url",
        "URL",
        None,
        "RabbitMQ's management API, http://…; derived from --amqp-url where it is not given",
    ),
    setting("node-id", "NAME", None, "What this node is called; the host name if not given"),
    setting(
        "prefix",
        "NAME",
        Some("hearken"),
        "The first part of the name of everything that hearken owns on the broker",
    ),
    setting("queue-type", "TYPE", Some("quorum"), "The kind of the work queues: quorum or classic"),
    setting(
        "reconcile",
        "MODE",
        Some("auto"),
        "auto repairs drift, manual leaves it to an administrator",
    ),
    setting("reconcile-interval", "TIME", Some("30s"), "The longest time between two passes"),
    setting("admin-token-file", "FILE", None, "The file with the token that may do everything"),
    setting("read-token-file", "FILE", None, "The file with the token that may only read"),
    setting(
        "webhook-allow",
        "HOST",
        None,
        "A host or network inside yours that webhooks may call; several, or with commas",
    ),
    setting("log-format", "FORMAT", Some("text"), "text for people, json for machines"),
    setting(
        "shutdown-patience",
        "TIME",
        Some("30s"),
        "How long listeners may take to finish the events they are handling when the node stops",
    ),
];

/// The keys that a configuration file may have beside its tables.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name).filter(|name| *name != "config")
}

/// The settings that the command line gives, as it gives them.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    given: BTreeMap<String, Vec<String>>,
}

impl Flags {
    /// Flags as if the command line had given them; those that are `None` were not.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let given = given.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).collect();
        Self { given }
    }

    /// What the command line gives for a setting.
    pub(super) fn get(&self, name: &str) -> Option<&[String]> {
        self.given.get(name).map(Vec::as_slice)
    }
}

impl Args for Flags {
    fn group_id() -> Option<Id> {
        None
    }

    fn augment_args(command: Command) -> Command {
        SETTINGS.iter().fold(command, |command, setting| command.arg(setting.arg()))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut flags = Self::default();
        flags.update_from_arg_matches(matches)?;
        Ok(flags)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for setting in &SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.name) {
                self.given.insert(setting.name.to_owned(), values.cloned().collect());
            }
        }
        Ok(())
    }
}
