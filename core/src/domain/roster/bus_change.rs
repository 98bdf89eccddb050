//! Change and removal of a bus.

use super::{QueueId, Refusal, Roster};
use crate::domain::{
    bus::BusDefinition, command::Pending, event::RosterEvent, listener::Delivery, name::BusName,
};
use std::collections::BTreeSet;

impl Roster {
    /// The definition of a bus.
    ///
    /// # Errors
    /// [`Refusal::NoSuchBus`] when the cluster does not have the bus.
    pub fn bus(&self, bus: &BusName) -> Result<&BusDefinition, Refusal> {
        let known = || self.buses().keys().cloned().collect();
        self.buses().get(bus).ok_or_else(|| Refusal::NoSuchBus { bus: bus.clone(), known: known() })
    }

    /// Buses that were removed and not added again.
    #[must_use]
    pub fn removed_buses(&self) -> &BTreeSet<BusName> {
        self.buses.removed()
    }

    /// Listeners and queues that use a bus, in words. `retired` are the queues of removed listeners
    /// that were deleted.
    #[must_use]
    pub fn bus_users(&self, bus: &BusName, retired: &BTreeSet<QueueId>) -> Vec<String> {
        let listeners = self.listeners.iter().filter(|(_, found)| found.listener.bus == *bus);
        let listeners = listeners.map(|(group, _)| format!("listener {group}"));
        let queues = self.tombstones.iter().filter(|(id, tombstone)| {
            let listener = &tombstone.listener;
            listener.bus == *bus && listener.delivery == Delivery::Once && !retired.contains(id)
        });
        let queues = queues.map(|(QueueId { group, generation }, tombstone)| {
            let what = match tombstone.pending {
                Pending::Keep => "kept",
                Pending::Drain => "draining",
                Pending::Discard => "waiting for its deletion",
            };
            format!("queue {generation} of group {group}, which is {what}")
        });
        listeners.chain(queues).collect()
    }

    /// Events that change a bus. A change to the present definition leads to none.
    pub(super) fn bus_change(&self, bus: &BusDefinition) -> Result<Vec<RosterEvent>, Refusal> {
        let present = self.bus(&bus.name)?;
        let fixed = [
            ("attached", present.attached != bus.attached),
            ("exchange", present.exchange != bus.exchange),
        ];
        if let Some((setting, _)) = fixed.into_iter().find(|(_, differs)| *differs) {
            return Err(Refusal::BusStays { bus: bus.name.clone(), setting });
        }
        let change = RosterEvent::BusChanged { bus: bus.clone() };
        Ok(Vec::from_iter((present != bus).then_some(change)))
    }

    /// Events that remove a bus. The caller has checked the queues of removed listeners.
    pub(super) fn bus_removal(&self, bus: &BusName) -> Result<Vec<RosterEvent>, Refusal> {
        let definition = self.bus(bus)?.clone();
        let retired = self.tombstones.keys().cloned().collect();
        let users = self.bus_users(bus, &retired);
        if !users.is_empty() {
            return Err(Refusal::BusOccupied { bus: bus.clone(), users });
        }
        Ok(vec![RosterEvent::BusRemoved { bus: definition }])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{
        bus::Codec,
        command::Command,
        roster::{
            decide,
            tests::{added, given, removed},
        },
    };

    fn name(text: &str) -> BusName {
        BusName::parse(text).unwrap()
    }

    fn decided(events: &[RosterEvent], command: &Command) -> Result<Vec<RosterEvent>, Refusal> {
        decide(&given(events), command, &BTreeSet::new())
    }

    #[test]
    fn the_codec_of_a_bus_changes_and_its_exchange_stays() {
        let bus = BusDefinition::plain(name("mailboxEvent"));
        let packed = BusDefinition { codec: Codec::MsgPack, ..bus.clone() };
        let events = decided(&[added("a", 1)], &Command::ChangeBus(packed.clone())).unwrap();
        assert_eq!(given(&events).bus(&bus.name), Ok(&packed));
        assert_eq!(decided(&[], &Command::ChangeBus(bus.clone())), Ok(vec![]));
        let attached = BusDefinition { attached: true, exchange: Some("e".into()), ..bus };
        let refusal = decided(&[], &Command::ChangeBus(attached)).unwrap_err();
        assert!(matches!(refusal, Refusal::BusStays { setting: "attached", .. }), "{refusal}");
        let unknown = Command::ChangeBus(BusDefinition::plain(name("none")));
        assert!(matches!(decided(&[], &unknown), Err(Refusal::NoSuchBus { .. })));
    }

    #[test]
    fn a_bus_without_users_is_removed_and_can_be_added_again() {
        let bus = BusDefinition::plain(name("jmapEvent"));
        let mut events = decided(&[added("a", 1)], &Command::RemoveBus(bus.name.clone())).unwrap();
        let roster = given(&events);
        assert!(roster.bus(&bus.name).is_err() && roster.removed_buses().contains(&bus.name));
        events.extend(decided(&events, &Command::AddBus(bus.clone())).unwrap());
        let roster = given(&events);
        assert!(roster.bus(&bus.name).is_ok() && roster.removed_buses().is_empty());
    }

    #[test]
    fn a_bus_with_a_listener_or_with_a_queue_stays() {
        let bus = name("mailboxEvent");
        let events = [added("a", 1)];
        let refusal = decided(&events, &Command::RemoveBus(bus.clone())).unwrap_err();
        assert!(refusal.to_string().contains("listener a"), "{refusal}");
        let kept = given(&[added("a", 1), removed("a", Pending::Keep)]);
        let users = kept.bus_users(&bus, &BTreeSet::new());
        assert_eq!(users, ["queue 1 of group a, which is kept"]);
        let retired = kept.tombstones().keys().cloned().collect();
        assert_eq!(kept.bus_users(&bus, &retired), Vec::<String>::new());
    }
}
