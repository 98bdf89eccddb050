//! Decisions about orphans, each as given events, a command and its result.

use crate::domain::{
    command::{Command, Pending},
    event::{Generation, RosterEvent},
    listener::{Delivery, ListenerSpec, tests::listener},
    name::BusName,
    roster::{
        OrphanQueue, Refusal, decide,
        tests::{added, given, history, orphan, removed},
    },
};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn add(listener: ListenerSpec) -> Command {
    Command::AddListener(listener)
}

fn taken_over(group: &str, generation: Generation) -> RosterEvent {
    RosterEvent::QueueTakenOver { queue: orphan(group, generation) }
}

fn released(group: &str, generation: Generation) -> RosterEvent {
    RosterEvent::QueueReleased { queue: orphan(group, generation) }
}

fn release(group: &str, generation: Generation) -> Command {
    Command::ReleaseQueue { queue: orphan(group, generation) }
}

#[test]
fn a_listener_that_is_added_takes_the_newest_orphan_of_its_group_over() {
    let orphans = BTreeSet::from([orphan("a", 3), orphan("a", 7), orphan("b", 9)]);
    let events = decide(&given(&[]), &add(listener("a")), &orphans).unwrap();
    assert_eq!(events, [taken_over("a", 7), added("a", 7)]);
    // The next queue of the group has a new name.
    let history = [&events[..], &[removed("a", Pending::Discard)]].concat();
    let next = decide(&given(&history), &add(listener("a")), &BTreeSet::new());
    assert_eq!(next, Ok(vec![added("a", 8)]));
}

#[test]
fn an_orphan_is_taken_over_before_a_kept_queue() {
    let kept = given(&[added("a", 1), removed("a", Pending::Keep)]);
    let orphans = BTreeSet::from([orphan("a", 2)]);
    let events = decide(&kept, &add(listener("a")), &orphans).unwrap();
    assert_eq!(events, [taken_over("a", 2), added("a", 2)]);
}

#[test]
fn an_orphan_of_another_bus_or_delivery_is_not_taken_over() {
    let mut elsewhere = orphan("a", 3);
    elsewhere.bus = BusName::parse("jmapEvent").unwrap();
    let orphans = BTreeSet::from([elsewhere]);
    let events = decide(&given(&[]), &add(listener("a")), &orphans).unwrap();
    assert_eq!(events, [added("a", 1)]);
    let everywhere = ListenerSpec { delivery: Delivery::EveryNode, ..listener("a") };
    let orphans = BTreeSet::from([orphan("a", 3)]);
    let events = decide(&given(&[]), &add(everywhere), &orphans).unwrap();
    assert!(matches!(events[..], [RosterEvent::ListenerAdded { generation: 1, .. }]));
}

#[test]
fn an_orphan_with_a_generation_that_the_log_has_used_is_not_taken_over() {
    let used = given(&[added("a", 1), removed("a", Pending::Drain)]);
    let orphans = BTreeSet::from([orphan("a", 1)]);
    assert_eq!(decide(&used, &add(listener("a")), &orphans), Ok(vec![added("a", 2)]));
    let refused = decide(&used, &release("a", 1), &BTreeSet::new());
    assert!(matches!(refused, Err(Refusal::GenerationInUse { generation: 1, .. })), "{refused:?}");
}

#[test]
fn a_release_is_recorded_once() {
    let nothing = BTreeSet::new();
    assert_eq!(decide(&given(&[]), &release("a", 3), &nothing), Ok(vec![released("a", 3)]));
    let roster = given(&[released("a", 3)]);
    assert_eq!(decide(&roster, &release("a", 3), &nothing), Ok(vec![]));
    assert_eq!(decide(&roster, &add(listener("a")), &nothing), Ok(vec![added("a", 4)]));
}

#[test]
fn the_queue_of_a_configured_listener_cannot_be_released() {
    let roster = given(&[taken_over("a", 3), added("a", 3)]);
    let refused = decide(&roster, &release("a", 3), &BTreeSet::new());
    assert!(matches!(refused, Err(Refusal::GenerationInUse { .. })), "{refused:?}");
}

proptest! {
    #[test]
    fn an_addition_gives_no_queue_a_name_that_the_log_let_go(
        asks in prop::collection::vec((0..8u8, 0..4u8), 0..30),
        orphans in prop::collection::btree_set((0..4u8, 1..6u32), 0..12),
        let_go in prop::collection::btree_set((0..4u8, 1..6u32), 0..6),
    ) {
        let name = |group: u8| format!("g{group}");
        let queues = |found: &BTreeSet<(u8, u32)>| -> BTreeSet<OrphanQueue> {
            found.iter().map(|(group, generation)| orphan(&name(*group), *generation)).collect()
        };
        let mut events = history(&asks);
        for queue in queues(&let_go) {
            let release = Command::ReleaseQueue { queue };
            events.extend(decide(&given(&events), &release, &BTreeSet::new()).unwrap_or_default());
        }
        let roster = given(&events);
        let orphans = queues(&orphans);
        for group in 0..4 {
            let group = name(group);
            let Ok(added) = decide(&roster, &add(listener(&group)), &orphans) else { continue };
            let Some(RosterEvent::ListenerAdded { generation, .. }) = added.last() else {
                panic!("{added:?}")
            };
            let queue = orphan(&group, *generation);
            prop_assert!(!roster.orphans().contains_key(&queue), "{:?}", added);
            let is_let_go = roster.tombstones().get(&queue.id)
                .is_some_and(|tombstone| tombstone.pending != Pending::Keep);
            prop_assert!(!is_let_go, "{:?}", added);
        }
    }
}
