//! Settings of a listener.

use super::{
    dead_letter::is_reserved,
    name::{BusName, ClassName, GroupName},
    retry::Retry,
    span::Span,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Beginning of the names of the environment variables that a configuration may refer to.
pub const SECRET_PREFIX: &str = "HEARKEN_SECRET_";

/// Settings of a class: a JSON object whose meaning only the class knows.
///
/// A value may be `{"env": "HEARKEN_SECRET_NAME"}` or `{"file": "name"}`, resolved on the node that
/// runs the listener, so that a secret is never stored.
pub type Configuration = Map<String, Value>;

/// Number of executions of an event in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// One execution in the cluster, through a work queue. At least once.
    #[default]
    Once,
    /// One execution on each node that is up. At most once.
    EveryNode,
}

/// Whether dispatching waits for the listener when it runs in the same process.
///
/// For key listeners and for [`Delivery::EveryNode`], the mode counts on both buses: a dispatch
/// runs the synchronous listeners of its own node and returns after them. For [`Delivery::Once`],
/// the mode counts only on the in-process bus. Over RabbitMQ another node may take the event, so a
/// dispatch never waits for a work queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Dispatching waits.
    Sync,
    /// Dispatching does not wait.
    #[default]
    Async,
}

/// Settings of a listener: a consumer of a bus. Group, bus and delivery stay as long as the
/// listener exists; the other settings can change in place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenerSpec {
    /// Identity of the listener in the roster.
    pub group: GroupName,
    /// Class that nodes make the listener from.
    pub class: ClassName,
    /// Bus that the listener listens to.
    pub bus: BusName,
    /// Whether an event runs once in the cluster or on every node.
    #[serde(default)]
    pub delivery: Delivery,
    /// Whether dispatching on the same node waits for the listener.
    #[serde(default)]
    pub mode: Mode,
    /// Largest number of executions at the same time on one node.
    #[serde(default = "default_concurrency")]
    pub concurrency: u16,
    /// Longest time of one execution.
    #[serde(default = "default_timeout")]
    pub timeout: Span,
    /// Number of retries of a failed event, and the pauses between them.
    #[serde(default)]
    pub retry: Retry,
    /// Settings of the class.
    #[serde(default)]
    pub configuration: Configuration,
}

/// Default of [`ListenerSpec::concurrency`]. James runs up to ten executions of a group at a time
/// (`maxConcurrency`).
#[must_use]
pub const fn default_concurrency() -> u16 {
    10
}

/// Default of [`ListenerSpec::timeout`]. It is well below the 30 minutes after which RabbitMQ takes
/// an unacknowledged event back.
#[must_use]
pub const fn default_timeout() -> Span {
    Span::from_secs(600)
}

/// Refusal of a setting that is outside its range.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{field} is {found}; it must be {allowed}")]
pub struct SettingError {
    /// Field of the setting, as it is written in JSON.
    pub field: &'static str,
    /// Refused value.
    pub found: String,
    /// Values that are allowed.
    pub allowed: &'static str,
}

impl ListenerSpec {
    /// Listener with every setting at its default.
    #[must_use]
    pub fn new(group: GroupName, class: ClassName, bus: BusName) -> Self {
        Self {
            group,
            class,
            bus,
            delivery: Delivery::default(),
            mode: Mode::default(),
            concurrency: default_concurrency(),
            timeout: default_timeout(),
            retry: Retry::default(),
            configuration: Configuration::new(),
        }
    }

    /// Names of the settings in which two listeners of one group differ, as they are written in
    /// JSON.
    #[must_use]
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let settings = [
            ("class", self.class != other.class),
            ("bus", self.bus != other.bus),
            ("delivery", self.delivery != other.delivery),
            ("mode", self.mode != other.mode),
            ("concurrency", self.concurrency != other.concurrency),
            ("timeout", self.timeout != other.timeout),
            ("retry", self.retry != other.retry),
            ("configuration", self.configuration != other.configuration),
        ];
        settings.into_iter().filter_map(|(name, differs)| differs.then_some(name)).collect()
    }

    /// Checks the ranges that the types of the fields do not hold.
    ///
    /// # Errors
    /// The first setting that is outside its range, with the allowed values.
    pub fn check(&self) -> Result<(), SettingError> {
        let millis = Span::as_millis;
        let bad = |field, found: &dyn ToString, allowed| {
            Err(SettingError { field, found: found.to_string(), allowed })
        };
        if is_reserved(&self.group) {
            let allowed =
                "another name: dead letters of events without a listener are kept under it";
            return bad("group", &self.group, allowed);
        }
        if is_address(&self.group) {
            let allowed =
                "another name: /listeners/history and /listeners/diff show changes of the roster";
            return bad("group", &self.group, allowed);
        }
        if !(1..=1000).contains(&self.concurrency) {
            return bad("concurrency", &self.concurrency, "between 1 and 1000");
        }
        if !(100..=25 * 60_000).contains(&millis(self.timeout)) {
            return bad(
                "timeout",
                &self.timeout,
                "between 100ms and 25m (the broker's own limit is 30m)",
            );
        }
        if self.retry.attempts > 100 {
            return bad("retry.attempts", &self.retry.attempts, "at most 100");
        }
        if !(100..=3_600_000).contains(&millis(self.retry.first)) {
            return bad("retry.first", &self.retry.first, "between 100ms and 1h");
        }
        if !(millis(self.retry.first)..=3_600_000).contains(&millis(self.retry.max)) {
            return bad("retry.max", &self.retry.max, "between retry.first and 1h");
        }
        Ok(())
    }
}

/// Whether the group could not be addressed, because `/listeners/<group>` is another resource.
#[must_use]
pub fn is_address(group: &GroupName) -> bool {
    matches!(group.as_str(), "history" | "diff")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A listener of class `log` on bus `mailboxEvent`, with every setting at its default.
    pub(crate) fn listener(group: &str) -> ListenerSpec {
        let group = GroupName::parse(group).unwrap();
        ListenerSpec::new(
            group,
            ClassName::parse("log").unwrap(),
            BusName::parse("mailboxEvent").unwrap(),
        )
    }

    #[test]
    fn a_listener_with_defaults_is_within_its_ranges() {
        assert_eq!(listener("a").check(), Ok(()));
    }

    #[test]
    fn a_setting_outside_its_range_is_named() {
        let mut wrong = listener("a");
        wrong.retry.max = Span::from_millis(1);
        assert_eq!(wrong.check().unwrap_err().field, "retry.max");
        let mut wrong = listener("a");
        wrong.timeout = Span::from_secs(3600);
        assert_eq!(wrong.check().unwrap_err().field, "timeout");
        for group in ["history", "diff", "parked", "dispatch-failure"] {
            assert_eq!(listener(group).check().unwrap_err().field, "group");
        }
    }

    #[test]
    fn the_settings_that_differ_are_named() {
        let mut other = listener("a");
        assert!(listener("a").differences(&other).is_empty());
        other.concurrency = 3;
        other.configuration.insert("url".into(), "http://a/".into());
        assert_eq!(listener("a").differences(&other), ["concurrency", "configuration"]);
    }

    #[test]
    fn an_unknown_field_is_refused() {
        let json = r#"{"group":"a","class":"log","bus":"b","retrys":{}}"#;
        assert!(serde_json::from_str::<ListenerSpec>(json).is_err());
    }
}
