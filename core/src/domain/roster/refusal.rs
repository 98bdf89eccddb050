//! Refusals of the roster.

use crate::domain::{
    event::Generation,
    listener::{Delivery, ListenerSpec},
    name::{BusName, ClassName, GroupName},
};

/// Reason why the roster refuses a command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The group already has a listener (James ADR 35: a group is used once).
    #[error(
        "group {group} is in use by a listener of class {class}; change or remove that listener, or choose another group"
    )]
    GroupInUse {
        /// The group of the command.
        group: GroupName,
        /// The class of the listener that uses the group.
        class: ClassName,
    },
    /// The group has no listener.
    #[error("no listener of group {group} is configured")]
    NotConfigured {
        /// The group of the command.
        group: GroupName,
    },
    /// The cluster has a bus of this name.
    #[error("the cluster has a bus {bus} already; GET /buses shows it; choose another name")]
    BusInUse {
        /// The bus of the command.
        bus: BusName,
    },
    /// The cluster has no bus of this name.
    #[error("the cluster has no bus {bus}; it has {}", names(known))]
    NoSuchBus {
        /// The bus of the command.
        bus: BusName,
        /// The buses of the cluster.
        known: Vec<BusName>,
    },
    /// A bus that is to be removed is in use.
    #[error("bus {bus} is in use by {}; remove each listener with pending=drain or pending=discard, and wait until its queue is deleted", users.join(", "))]
    BusOccupied {
        /// The bus of the command.
        bus: BusName,
        /// Listeners and queues that use the bus, in words.
        users: Vec<String>,
    },
    /// A change names another exchange than the bus has.
    #[error(
        "{setting} of bus {bus} cannot be changed, because queues are bound to the exchange of the bus; remove the bus once no listener uses it, and add it with the new definition"
    )]
    BusStays {
        /// The bus of the command.
        bus: BusName,
        /// Name of the setting, as it is written in JSON.
        setting: &'static str,
    },
    /// A change names another bus or another delivery than the listener has.
    #[error(
        "{setting} cannot be changed in place, because the queue of group {group} belongs to it; to move the listener, add a listener of another group with the new settings, then remove group {group} with pending=drain"
    )]
    CannotChange {
        /// The group of the command.
        group: GroupName,
        /// The setting that cannot change.
        setting: FixedSetting,
    },
    /// A change names another prefix than the cluster has.
    #[error(
        "the prefix {present} cannot be changed (to {refused}), because every exchange and queue on the broker has it in its name, and RabbitMQ renames nothing; to use another prefix, start a new cluster with an empty database and --prefix {refused}, add the listeners there, and move the publishers over"
    )]
    PrefixStays {
        /// Prefix of the cluster.
        present: String,
        /// Prefix in the command.
        refused: String,
    },
    /// The log has a queue of the same group and generation, so the queue cannot be released.
    #[error(
        "the log has a queue of group {group} with generation {generation} already, so no orphan of this group and generation can be released; delete the queue by its name instead: DELETE /topology/queues/{{name}}?force=true"
    )]
    GenerationInUse {
        /// Group of the queue.
        group: GroupName,
        /// Generation of the queue.
        generation: Generation,
    },
}

/// Setting that stays as long as its listener exists, with its present and its refused value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixedSetting {
    /// The bus.
    #[error("bus {present} (to {refused})")]
    Bus {
        /// Bus of the listener.
        present: BusName,
        /// Bus in the command.
        refused: BusName,
    },
    /// The delivery.
    #[error("delivery {} (to {})", delivery_name(*present), delivery_name(*refused))]
    Delivery {
        /// Delivery of the listener.
        present: Delivery,
        /// Delivery in the command.
        refused: Delivery,
    },
}

impl FixedSetting {
    /// Name of the setting, as it is written in JSON.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Bus { .. } => "bus",
            Self::Delivery { .. } => "delivery",
        }
    }
}

fn names(buses: &[BusName]) -> String {
    buses.iter().map(BusName::as_str).collect::<Vec<_>>().join(", ")
}

fn delivery_name(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Once => "once",
        Delivery::EveryNode => "every-node",
    }
}

/// Checks that a change leaves the settings alone that its queue depends on.
pub(super) fn check_fixed(present: &ListenerSpec, wanted: &ListenerSpec) -> Result<(), Refusal> {
    let setting = if present.bus != wanted.bus {
        FixedSetting::Bus { present: present.bus.clone(), refused: wanted.bus.clone() }
    } else if present.delivery != wanted.delivery {
        FixedSetting::Delivery { present: present.delivery, refused: wanted.delivery }
    } else {
        return Ok(());
    };
    Err(Refusal::CannotChange { group: wanted.group.clone(), setting })
}
