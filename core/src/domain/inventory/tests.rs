//! The queues of a restored log, each with its kind and remedy.

use super::*;
use crate::domain::{
    depth::Depth,
    drift::Remedy,
    plan::tests::{desired_of, layout},
    roster::tests::{added, given, removed},
};

const A: &str = "hearken.mailboxEvent.work.a.v1";

fn listed(events: &[crate::domain::event::RosterEvent], broker: &Topology) -> Vec<InventoryQueue> {
    list_queues(&layout(), &desired_of(events), Some(broker))
}

fn find<'a>(queues: &'a [InventoryQueue], name: &str) -> &'a InventoryQueue {
    queues.iter().find(|queue| queue.name == name).unwrap_or_else(|| panic!("no {name}"))
}

#[test]
fn each_queue_has_one_kind_and_queues_of_nodes_are_left_out() {
    let events = [
        added("a", 1),
        added("b", 1),
        added("c", 1),
        removed("b", Pending::Keep),
        removed("c", Pending::Drain),
    ];
    let mut broker = desired_of(&events[..3]).topology;
    broker.queues.extend(desired_of(&[added("d", 7)]).topology.queues);
    let queues = listed(&events, &broker);
    let kinds: Vec<_> = (queues.iter().filter(|queue| queue.id.is_some()))
        .map(|queue| (queue.name.rsplit(".work.").next().unwrap_or_default(), queue.kind))
        .collect();
    let expected = [
        ("a.v1", QueueKind::Work),
        ("b.v1", QueueKind::Kept),
        ("c.v1", QueueKind::Draining),
        ("d.v7", QueueKind::Orphan),
    ];
    assert_eq!(kinds, expected);
    let kind = |name: &str| find(&queues, name).kind;
    assert_eq!(kind("hearken.mailboxEvent.parked"), QueueKind::Parked);
    assert_eq!(kind("hearken.mailboxEvent.wait.100"), QueueKind::Wait);
    let roster = given(&events);
    let tombstone = find(&queues, "hearken.mailboxEvent.work.b.v1").tombstone(&roster);
    assert_eq!(tombstone.map(|tombstone| tombstone.version), Some(4));
    assert_eq!(find(&queues, A).tombstone(&roster), None);
}

#[test]
fn a_queue_of_a_removed_listener_that_is_gone_is_not_listed() {
    let events = [added("a", 1), removed("a", Pending::Keep)];
    assert!(listed(&events, &desired_of(&[]).topology).iter().all(|queue| queue.name != A));
    let unread = list_queues(&layout(), &desired_of(&events), None);
    assert_eq!(find(&unread, A).place, QueuePlace::Unknown);
    let lost = listed(&events[..1], &Topology::default());
    assert_eq!(find(&lost, A).place, QueuePlace::Absent);
}

#[test]
fn each_state_of_a_queue_has_its_remedy() {
    let mut broker = desired_of(&[added("a", 1)]).topology;
    broker.queues.extend(desired_of(&[added("a", 4)]).topology.queues);
    let remedy = |events: &[_], name: &str, drift| {
        let queues = listed(events, &broker);
        find(&queues, name).advice(&given(events), drift, None).map(|advice| advice.remedy)
    };
    let kept = [added("a", 1), removed("a", Pending::Keep)];
    let discarded = [added("a", 1), removed("a", Pending::Discard)];
    assert_eq!(remedy(&[added("a", 1)], A, None), None);
    assert_eq!(remedy(&[added("a", 1)], A, Some(Remedy::Migrate)), Some(QueueRemedy::Migrate));
    assert_eq!(remedy(&kept, A, None), Some(QueueRemedy::AddGroup));
    assert_eq!(remedy(&discarded, A, None), Some(QueueRemedy::Wait));
    let newer = "hearken.mailboxEvent.work.a.v4";
    assert_eq!(remedy(&[], newer, None), Some(QueueRemedy::AddGroup));
    assert_eq!(remedy(&[added("a", 1)], newer, None), Some(QueueRemedy::ReplaceListener));
}

#[test]
fn orphans_of_an_unknown_bus_ask_for_the_bus_and_name_the_release() {
    let mut broker = Topology::default();
    let bus = BusName::parse("billing").unwrap();
    broker.add_queue(layout().parked_queue(&bus));
    let group = crate::domain::name::GroupName::parse("g").unwrap();
    broker.add_queue(layout().work_queue(&bus, &group, 2, 9));
    let queues = listed(&[], &broker);
    let advice = |name: &str| find(&queues, name).advice(&given(&[]), None, None).unwrap();
    let work = advice("hearken.billing.work.g.v2");
    assert_eq!(work.remedy, QueueRemedy::AddBus);
    assert!(work.text.contains("topology release hearken.billing.work.g.v2"), "{}", work.text);
    assert_eq!(advice("hearken.billing.parked").remedy, QueueRemedy::AddBus);
}

#[test]
fn parked_messages_are_collected_and_an_empty_parked_queue_is_fine() {
    let broker = desired_of(&[]).topology;
    let queues = listed(&[], &broker);
    let parked = find(&queues, "hearken.mailboxEvent.parked");
    let advice = |ready| {
        let depth = Depth { ready, ..Depth::default() };
        parked.advice(&given(&[]), None, Some(depth)).map(|advice| advice.remedy)
    };
    assert_eq!((advice(0), advice(1)), (None, Some(QueueRemedy::Wait)));
}
