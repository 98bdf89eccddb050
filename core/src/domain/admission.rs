//! Rules by which one node refuses a command that the roster would take.
//!
//! The roster's own rules ([`super::roster::decide`]) hold for the whole cluster. The rules here
//! depend on the node that takes the command: the classes that it knows, the listeners that its
//! configuration requires, and the names that its broker can hold (James ADR 35, "WebAdmin").

use super::{
    bus::{BusDefinition, BusError, Buses},
    command::Command,
    layout::{Flavor, Layout, NameTooLong},
    listener::{ListenerSpec, SettingError},
    name::{BusName, ClassName, GroupName},
};
use std::collections::{BTreeMap, BTreeSet};

/// One mistake in a listener's configuration.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ConfigurationError {
    /// Place of the mistake, as a JSON pointer (RFC 6901). Empty for the whole configuration.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub problem: String,
}

/// The catalog's verdict on a class and a configuration for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClassVerdict {
    /// The class accepts the configuration.
    Accepted,
    /// The node does not know the class.
    Unknown {
        /// The classes that the node knows.
        known: Vec<ClassName>,
    },
    /// The class does not accept the configuration.
    Invalid(Vec<ConfigurationError>),
}

/// Facts about a node by which it admits commands.
#[derive(Debug, Clone)]
pub struct AdmissionFacts<'a> {
    /// Listeners that the node's own configuration requires.
    pub required: &'a BTreeMap<GroupName, ListenerSpec>,
    /// The cluster's buses.
    pub buses: &'a Buses,
    /// Buses that the node's own configuration defines.
    pub defined_buses: &'a BTreeSet<BusName>,
    /// How groups and buses become queue names.
    pub layout: &'a Layout,
}

/// Reason why a node refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// This node does not know the class.
    #[error("this node knows no listener class {class}; it knows {}", list(known))]
    UnknownClass {
        /// The class of the command.
        class: ClassName,
        /// The classes that this node knows.
        known: Vec<ClassName>,
    },
    /// The cluster has no such bus.
    #[error("there is no bus {bus}; the cluster has {}", list(known))]
    UnknownBus {
        /// The bus of the command.
        bus: BusName,
        /// The buses of the cluster.
        known: Vec<BusName>,
    },
    /// The node's configuration requires the listener (James: bound by Guice).
    #[error(
        "group {group} is required by this node's configuration; take it out of [[required]] there first"
    )]
    RequiredHere {
        /// The group of the command.
        group: GroupName,
    },
    /// The node's configuration defines the bus, so the node would add it again at its next start.
    #[error(
        "bus {bus} is defined by this node's configuration; take it out of [[bus]] there first"
    )]
    BusDefinedHere {
        /// The bus of the command.
        bus: BusName,
    },
    /// The class does not accept the configuration.
    #[error("class {class} does not accept this configuration: {}", problems(errors))]
    InvalidConfiguration {
        /// The class.
        class: ClassName,
        /// Every mistake.
        errors: Vec<ConfigurationError>,
    },
    /// A setting is outside its range.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// The definition of a bus is not valid.
    #[error(transparent)]
    Bus(#[from] BusError),
    /// The name of the work queue would be too long for the broker.
    #[error(transparent)]
    NameTooLong(#[from] NameTooLong),
}

fn list<T: ToString>(names: &[T]) -> String {
    names.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn problems(errors: &[ConfigurationError]) -> String {
    let line = |e: &ConfigurationError| {
        if e.pointer.is_empty() {
            e.problem.clone()
        } else {
            format!("{}: {}", e.pointer, e.problem)
        }
    };
    errors.iter().map(line).collect::<Vec<_>>().join("; ")
}

/// Checks a command against the facts about this node. `verdict` asks the catalog about a listener
/// that is added or changed, and is not called for other commands.
///
/// # Errors
/// The first reason to refuse the command.
pub fn check(
    node: &AdmissionFacts<'_>,
    command: &Command,
    verdict: impl FnOnce(&ListenerSpec) -> ClassVerdict,
) -> Result<(), NotAdmitted> {
    match command {
        Command::AddListener(listener) | Command::ChangeListener(listener) => {
            listener.check()?;
            if !node.buses.contains_key(&listener.bus) {
                let known = node.buses.keys().cloned().collect();
                return Err(NotAdmitted::UnknownBus { bus: listener.bus.clone(), known });
            }
            node.layout.fits(listener)?;
            let class = listener.class.clone();
            match verdict(listener) {
                ClassVerdict::Accepted => Ok(()),
                ClassVerdict::Unknown { known } => Err(NotAdmitted::UnknownClass { class, known }),
                ClassVerdict::Invalid(errors) => {
                    Err(NotAdmitted::InvalidConfiguration { class, errors })
                }
            }
        }
        Command::RemoveListener { group, .. } | Command::PauseListener { group }
            if node.required.contains_key(group) =>
        {
            Err(NotAdmitted::RequiredHere { group: group.clone() })
        }
        Command::RemoveBus(bus) if node.defined_buses.contains(bus) => {
            Err(NotAdmitted::BusDefinedHere { bus: bus.clone() })
        }
        Command::RemoveListener { .. }
        | Command::PauseListener { .. }
        | Command::ResumeListener { .. }
        | Command::MigrateListener { .. }
        | Command::RemoveBus(_)
        | Command::ReleaseQueue { .. } => Ok(()),
        Command::AddBus(bus) | Command::ChangeBus(bus) => Ok(check_bus(node.layout, bus)?),
        Command::ChangeCluster(change) => Ok(change.check()?),
    }
}

/// Checks a bus by its own rules and by the rules of the node's broker.
fn check_bus(layout: &Layout, bus: &BusDefinition) -> Result<(), BusError> {
    bus.check()?;
    let Some(exchange) = bus.foreign_exchange() else { return Ok(()) };
    if layout.flavor == Flavor::Local {
        return Err(BusError::NeedsRabbitMq(bus.name.clone()));
    }
    if layout.has_prefix(exchange) {
        return Err(BusError::OwnExchange(bus.name.clone(), exchange.to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{command::Pending, listener::tests::listener};

    fn check_with(command: &Command, verdict: ClassVerdict) -> Result<(), NotAdmitted> {
        let required = listener("required");
        let required = BTreeMap::from([(required.group.clone(), required)]);
        let bus = crate::domain::bus::BusDefinition::plain(BusName::parse("mailboxEvent").unwrap());
        let buses = Buses::from([(bus.name.clone(), bus)]);
        let layout = Layout::default();
        let node = AdmissionFacts {
            required: &required,
            buses: &buses,
            defined_buses: &BTreeSet::new(),
            layout: &layout,
        };
        check(&node, command, |_| verdict)
    }

    #[test]
    fn an_unknown_class_is_refused_with_the_classes_that_the_node_knows() {
        let known = vec![ClassName::parse("log").unwrap()];
        let error = check_with(
            &Command::AddListener(listener("a")),
            ClassVerdict::Unknown { known: known.clone() },
        );
        let class = listener("a").class;
        assert_eq!(error, Err(NotAdmitted::UnknownClass { class, known }));
    }

    #[test]
    fn a_required_listener_is_not_removed_and_any_other_listener_is() {
        let remove = |group: &str| Command::RemoveListener {
            group: GroupName::parse(group).unwrap(),
            pending: Pending::Keep,
        };
        let refused = check_with(&remove("required"), ClassVerdict::Accepted);
        assert!(matches!(refused, Err(NotAdmitted::RequiredHere { .. })));
        assert_eq!(check_with(&remove("other"), ClassVerdict::Accepted), Ok(()));
    }

    #[test]
    fn a_required_listener_is_not_paused_but_may_be_resumed_and_changed() {
        let group = GroupName::parse("required").unwrap();
        let pause = Command::PauseListener { group: group.clone() };
        let refused = check_with(&pause, ClassVerdict::Accepted);
        assert!(matches!(refused, Err(NotAdmitted::RequiredHere { .. })));
        let change = Command::ChangeListener(listener("required"));
        for command in [Command::ResumeListener { group }, change] {
            assert_eq!(check_with(&command, ClassVerdict::Accepted), Ok(()));
        }
    }

    #[test]
    fn the_class_is_asked_about_the_new_configuration_of_a_listener() {
        let mistake = ConfigurationError { pointer: "/url".into(), problem: "is missing".into() };
        let verdict = ClassVerdict::Invalid(vec![mistake]);
        let refused = check_with(&Command::ChangeListener(listener("a")), verdict);
        assert!(matches!(refused, Err(NotAdmitted::InvalidConfiguration { .. })));
    }

    #[test]
    fn a_bus_is_attached_only_over_rabbitmq_and_to_a_foreign_exchange() {
        let attached = |exchange: &str| BusDefinition {
            attached: true,
            exchange: Some(exchange.into()),
            ..BusDefinition::plain(BusName::parse("billing").unwrap())
        };
        let cluster = Layout { flavor: Flavor::RabbitMq, ..Layout::default() };
        let embedded = Layout { flavor: Flavor::Local, ..Layout::default() };
        assert_eq!(check_bus(&cluster, &attached("theirs")), Ok(()));
        let refused = check_bus(&embedded, &attached("theirs"));
        assert!(matches!(refused, Err(BusError::NeedsRabbitMq(_))));
        let own = format!("{}.billing", cluster.prefix);
        assert!(matches!(check_bus(&cluster, &attached(&own)), Err(BusError::OwnExchange(..))));
    }

    #[test]
    fn an_unknown_bus_and_a_setting_out_of_range_are_refused_before_the_class_is_asked() {
        let mut wrong = listener("a");
        wrong.bus = BusName::parse("nowhere").unwrap();
        let refused = check_with(&Command::AddListener(wrong), ClassVerdict::Accepted);
        assert!(matches!(refused, Err(NotAdmitted::UnknownBus { .. })));
        let mut wrong = listener("a");
        wrong.concurrency = 0;
        let refused = check_with(&Command::AddListener(wrong), ClassVerdict::Accepted);
        assert!(matches!(refused, Err(NotAdmitted::Setting(_))));
    }
}
