//! Table of the settings: the source of the flags, of the environment variables, of the keys of the
//! configuration file and of the help.

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, Id};
use std::collections::BTreeMap;

/// One setting.
pub(super) struct Setting {
    /// Flag without dashes; also the key in the configuration file.
    pub(super) name: &'static str,
    value: &'static str,
    /// Value when no flag, environment variable or file sets it.
    pub(super) default: Option<&'static str>,
    help: &'static str,
}

impl Setting {
    /// Name of the environment variable.
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

/// All settings. The first one names the configuration file, so it cannot be in that file.
pub(super) static SETTINGS: [Setting; 26] = [
    setting(
        "config",
        "FILE",
        None,
        "Configuration file [default: hearken.toml in the working directory, if it exists]",
    ),
    setting("listen", "ADDRESS", Some("127.0.0.1:8000"), "Address and port of the REST interface"),
    setting(
        "data-dir",
        "DIR",
        Some("./hearken-data"),
        "Directory of the embedded store and of the generated administrator's token",
    ),
    setting(
        "database-url",
        "URL",
        None,
        "PostgreSQL of a cluster, postgres://…; without it and --amqp-url, everything is embedded",
    ),
    setting(
        "database-url-file",
        "FILE",
        None,
        "File with the value of --database-url, which keeps its password out of the process list",
    ),
    setting(
        "database-connections",
        "NUMBER",
        Some("8"),
        "Most connections of this node to PostgreSQL",
    ),
    setting("amqp-url", "URL", None, "RabbitMQ of a cluster, amqp://…"),
    setting(
        "amqp-url-file",
        "FILE",
        None,
        "File with the value of --amqp-url, which keeps its password out of the process list",
    ),
    setting(
        "management-url",
        "URL",
        None,
        "Management API of RabbitMQ, http://…; derived from --amqp-url if absent",
    ),
    setting(
        "management-url-file",
        "FILE",
        None,
        "File with the value of --management-url, which keeps its password out of the process list",
    ),
    setting("node-id", "NAME", None, "Name of this node; the host name if absent"),
    setting(
        "prefix",
        "NAME",
        Some("hearken"),
        "First part of the name of every object of hearken on the broker",
    ),
    setting("queue-type", "TYPE", Some("quorum"), "Type of the work queues: quorum or classic"),
    setting(
        "reconcile",
        "MODE",
        Some("auto"),
        "Repair of drift: auto, or manual (an administrator starts it)",
    ),
    setting(
        "reconcile-interval",
        "TIME",
        Some("30s"),
        "Longest time between two comparisons of the broker with the roster",
    ),
    setting(
        "admin-token-file",
        "FILE",
        None,
        "File with the administrator's token, which allows everything",
    ),
    setting("read-token-file", "FILE", None, "File with the read-only token"),
    setting(
        "secrets-dir",
        "DIR",
        None,
        "Directory of the files that {\"file\": \"name\"} in a listener's configuration may name",
    ),
    setting(
        "webhook-allow",
        "HOST",
        None,
        "Internal host or network that webhooks may call; may be repeated, or a list with commas",
    ),
    setting(
        "log-format",
        "FORMAT",
        Some("text"),
        "Format of the log: text, or json with one object per line",
    ),
    setting(
        "shutdown-patience",
        "TIME",
        Some("20s"),
        "Time that listeners have to finish their events when the node stops",
    ),
    setting(
        "retain-dead-letters",
        "AGE",
        Some("30d"),
        "Age at which dead letters are removed, except events that could not be published",
    ),
    setting(
        "dead-letter-quota",
        "COUNT,SIZE",
        Some("1000000,1GiB"),
        "Dead letters of one group at which its failed events stay with the broker",
    ),
    setting("retain-tasks", "AGE,COUNT", Some("30d,10000"), "Ended tasks that are kept"),
    setting(
        "retain-commands",
        "AGE,COUNT",
        Some("30d,100000"),
        "Ids of commands that are kept, so that a repeated command changes nothing",
    ),
    setting("retain-passes", "AGE,COUNT", Some("30d,10000"), "Records of passes that are kept"),
];

/// Keys that a configuration file may have, apart from its tables.
pub(super) fn keys() -> impl Iterator<Item = &'static str> {
    SETTINGS.iter().map(|setting| setting.name).filter(|name| *name != "config")
}

/// Settings from the command line, not parsed yet.
#[derive(Debug, Clone, Default)]
pub struct Flags {
    given: BTreeMap<String, Vec<String>>,
}

impl Flags {
    /// Flags with these values; a flag with `None` is not set.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>) -> Self {
        let given = pairs.into_iter().filter_map(|(name, value)| Some((name, value?)));
        let given = given.map(|(name, value)| (name.to_owned(), vec![value.to_owned()])).collect();
        Self { given }
    }

    /// Values of a setting on the command line.
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
