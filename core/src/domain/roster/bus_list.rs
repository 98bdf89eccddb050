//! The buses of the roster.

use super::{Refusal, Roster};
use crate::domain::{
    bus::{BusDefinition, Buses, DEFAULT_BUSES},
    event::{RecordedEvent, Version},
    name::BusName,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use time::OffsetDateTime;

/// Audit of the addition of a bus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BusAddition {
    /// Version that added the bus.
    pub version: Version,
    /// Time of the addition, by the database's clock.
    pub at: OffsetDateTime,
    /// Author of the addition.
    pub by: String,
    /// Reason that the author gave.
    pub reason: Option<String>,
}

/// The buses at one version. A cluster has the default buses from its start.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct BusList {
    definitions: Arc<Buses>,
    additions: BTreeMap<BusName, BusAddition>,
    removed: BTreeSet<BusName>,
}

impl Default for BusList {
    fn default() -> Self {
        let names = DEFAULT_BUSES.iter().filter_map(|name| BusName::parse(*name).ok());
        let buses = names.map(|name| (name.clone(), BusDefinition::plain(name)));
        let definitions = Arc::new(buses.collect());
        Self { definitions, additions: BTreeMap::new(), removed: BTreeSet::new() }
    }
}

impl BusList {
    pub(super) fn definitions(&self) -> &Arc<Buses> {
        &self.definitions
    }

    pub(super) fn addition(&self, bus: &BusName) -> Option<&BusAddition> {
        self.additions.get(bus)
    }

    pub(super) fn add(&mut self, bus: &BusDefinition, recorded: &RecordedEvent) {
        Arc::make_mut(&mut self.definitions).insert(bus.name.clone(), bus.clone());
        let addition = BusAddition {
            version: recorded.version,
            at: recorded.recorded_at,
            by: recorded.audit.actor.clone(),
            reason: recorded.audit.reason.clone(),
        };
        self.additions.insert(bus.name.clone(), addition);
        self.removed.remove(&bus.name);
    }

    pub(super) fn change(&mut self, bus: &BusDefinition) {
        Arc::make_mut(&mut self.definitions).insert(bus.name.clone(), bus.clone());
    }

    pub(super) fn remove(&mut self, bus: &BusName) {
        Arc::make_mut(&mut self.definitions).remove(bus);
        self.additions.remove(bus);
        self.removed.insert(bus.clone());
    }

    pub(super) fn removed(&self) -> &BTreeSet<BusName> {
        &self.removed
    }
}

impl Roster {
    /// Checks that a bus can be added. A default bus can get another definition as long as no
    /// listener was ever added, so that a new cluster can attach it to the exchange of a James.
    pub(super) fn check_new_bus(&self, bus: &BusDefinition) -> Result<(), Refusal> {
        let is_free = match self.buses().get(&bus.name) {
            None => true,
            Some(present) => {
                self.bus_addition(&bus.name).is_none()
                    && self.generations.is_empty()
                    && present != bus
            }
        };
        if is_free { Ok(()) } else { Err(Refusal::BusInUse { bus: bus.name.clone() }) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        bus::Codec,
        command::Command,
        event::RosterEvent,
        roster::{
            decide,
            tests::{added, given},
        },
    };

    fn bus(name: &str) -> BusDefinition {
        BusDefinition::plain(BusName::parse(name).unwrap())
    }

    fn bus_added(name: &str) -> RosterEvent {
        RosterEvent::BusAdded { bus: bus(name) }
    }

    fn is_taken(roster: &Roster, bus: BusDefinition) -> bool {
        let refusal = Refusal::BusInUse { bus: bus.name.clone() };
        decide(roster, &Command::AddBus(bus), &BTreeSet::new()) == Err(refusal)
    }

    #[test]
    fn a_cluster_has_the_default_buses_and_the_buses_that_were_added() {
        let names = |roster: &Roster| roster.buses().keys().map(BusName::to_string).collect();
        let start: Vec<String> = names(&Roster::default());
        assert_eq!(start, ["jmapEvent", "mailboxEvent"]);
        let roster = given(&[bus_added("billing")]);
        let later: Vec<String> = names(&roster);
        assert_eq!(later, ["billing", "jmapEvent", "mailboxEvent"]);
        let addition = roster.bus_addition(&bus("billing").name).unwrap();
        assert_eq!((addition.version, addition.by.as_str()), (1, "alice"));
        assert_eq!(roster.bus_addition(&bus("jmapEvent").name), None);
    }

    #[test]
    fn a_new_bus_is_added_once() {
        let events =
            decide(&given(&[added("a", 1)]), &Command::AddBus(bus("billing")), &BTreeSet::new());
        assert_eq!(events, Ok(vec![bus_added("billing")]));
        assert!(is_taken(&given(&[bus_added("billing")]), bus("billing")));
        let other = BusDefinition { codec: Codec::MsgPack, ..bus("billing") };
        assert!(is_taken(&given(&[bus_added("billing")]), other));
    }

    #[test]
    fn a_default_bus_gets_its_definition_once_and_before_the_first_listener() {
        let james = BusDefinition { codec: Codec::James, ..bus("mailboxEvent") };
        let start = Roster::default();
        assert!(is_taken(&start, bus("mailboxEvent")), "it has this definition already");
        let defined = decide(&start, &Command::AddBus(james.clone()), &BTreeSet::new()).unwrap();
        let roster = given(&defined);
        assert_eq!(roster.buses()[&james.name], james);
        assert!(is_taken(&roster, bus("mailboxEvent")));
        assert!(is_taken(&given(&[added("a", 1)]), james));
    }
}
